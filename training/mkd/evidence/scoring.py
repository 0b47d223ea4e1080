"""Scores of approaches with several seeds on the same test cases, with intervals over both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.bootstrap import Floats
from napari_hmkd.training.mkd import metrics
from napari_hmkd.training.mkd.evidence.readout import r_squared, read_out
from napari_hmkd.training.mkd.scoring import FoldAnswers
from napari_hmkd.training.scores.bootstrap import DECIMALS, PatientBootstrap
from napari_hmkd.training.scores.metrics import roc_auc
from napari_hmkd.training.scores.paired import estimates, less, means

Scores = Mapping[str, Mapping[str, Any]]
Answers = Mapping[str, Sequence[FoldAnswers]]
"""By title, what each seed's network says about the same test cases in the same order."""


def score_answers(
    answers: Answers, reference: str, oracles: Mapping[str, Floats] | None = None
) -> dict[str, dict[str, Any]]:
    """Areas under the ROC curve, and differences to the reference, as `scores.paired` draws them.

    Parameters
    ----------
    answers : mapping of title to answers by seed
    reference : str
        The title that is taken from every other.
    oracles : mapping of title to (n,) scores, optional
        What has no seed; higher scores speak for the second class.

    Returns
    -------
    dict
        By title: `auc` and `less_reference` as `PatientBootstrap.score` gives them (none for the
        reference itself), and `per_seed`.
    """
    first = answers[reference][0]
    bootstrap = PatientBootstrap(first.patients)
    weights = bootstrap.item_weights
    seeds = {
        title: np.stack([metrics.auc(one.probabilities, one.labels, weights) for one in found])
        for title, found in answers.items()
    }
    for title, scores in (oracles or {}).items():
        seeds[title] = roc_auc(scores, first.labels == 1, weights)[None]
    return _table(seeds, bootstrap, reference)


def score_readouts(
    embeddings: Mapping[str, Sequence[NDArray[np.floating]]],
    factors: Mapping[str, Floats],
    patients: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """How much of each factor a ridge regression reads off embeddings of the test patients.

    Parameters
    ----------
    embeddings : mapping of title to one (n, d) array by seed
    factors : mapping of name to (n,)
    patients : (n,)

    Returns
    -------
    dict
        By title and factor: R-squared as `PatientBootstrap.score` gives it.
    """
    bootstrap, truth = PatientBootstrap(patients), np.column_stack(list(factors.values()))
    weights = bootstrap.item_weights
    found: dict[str, dict[str, Any]] = {}
    for title, by_seed in embeddings.items():
        predicted = [read_out(embedding, truth) for embedding in by_seed]
        drawn = {
            name: np.stack([r_squared(truth[:, k], one[:, k], weights) for one in predicted])
            for k, name in enumerate(factors)
        }
        found[title] = estimates(means(drawn), bootstrap)
    return found


def _table(
    seeds: Mapping[str, Floats], bootstrap: PatientBootstrap, reference: str
) -> dict[str, dict[str, Any]]:
    drawn = {title: means({"auc": values}) for title, values in seeds.items()}
    found: dict[str, dict[str, Any]] = {}
    for title, values in drawn.items():
        found[title] = {
            "auc": bootstrap.score(values["auc"]),
            "per_seed": np.round(seeds[title][:, 0], DECIMALS).tolist(),
        }
        if title != reference:
            difference = less(values, drawn[reference])["auc"]
            found[title]["less_reference"] = bootstrap.score(difference)
    return found
