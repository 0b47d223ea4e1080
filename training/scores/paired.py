"""Kappa and accuracy of approaches with several seeds, and differences over the same patients."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.bootstrap import Floats
from napari_hmkd.grade_tables import cross_tables, quadratic_kappa
from napari_hmkd.training.scores.bootstrap import DECIMALS, PatientBootstrap
from napari_hmkd.training.scores.metrics import accuracy
from napari_hmkd.training.tiles import GRADES

PAIRED_SCORES = {"kappa": quadratic_kappa, "accuracy": accuracy}
Grades = NDArray[np.integer]
_SEED_DRAWS = 7  # not the seed that draws patients


def paired(
    predicted: Mapping[str, Sequence[Grades]],
    truth: Grades,
    groups: Sequence[Hashable],
    reference: str,
) -> dict[str, Any]:
    """Kappa and accuracy of several approaches, and their differences to one of them.

    A score is the mean over an approach's seeds. Each draw takes patients and, independently,
    seeds with replacement (pigeonhole bootstrap: Owen, Ann. Appl. Stat. 2007), so that intervals
    hold the spread over both. It takes the same patients for all approaches, and the same seeds
    for those with equally many: what is hard for all, and what approaches share by their seed
    (first weights, teacher), cancels in a difference. S seeds show only (S - 1) / S of their
    variance.

    Parameters
    ----------
    predicted : mapping of approach to one (n,) array of grades per seed
        In the same order of seeds; one array for what has no seed, such as the oracle.
    truth : (n,)
        Labels, 0 to 3.
    groups : (n,)
        What is drawn: patients.
    reference : str
        The approach that is taken from every other.

    Returns
    -------
    dict
        `scores` of each approach and `differences` of each but the reference, both by name, with
        `kappa` and `accuracy` as `PatientBootstrap.score` gives them; scores also with
        `per_seed`, the value of each seed.

    Raises
    ------
    ValueError
        If an approach has no seed, or the reference is none of them.
    """
    if reference not in predicted:
        raise ValueError(f"the reference {reference!r} is none of {', '.join(predicted)}")
    bootstrap = PatientBootstrap(groups)
    seeds = {name: of_seeds(found, truth, bootstrap) for name, found in predicted.items()}
    drawn = {name: means(values) for name, values in seeds.items()}
    return {
        "scores": {
            name: {
                key: found | {"per_seed": _rounded(seeds[name][key][:, 0])}
                for key, found in estimates(values, bootstrap).items()
            }
            for name, values in drawn.items()
        },
        "differences": {
            name: estimates(less(values, drawn[reference]), bootstrap)
            for name, values in drawn.items()
            if name != reference
        },
    }


def of_seeds(
    seeds: Sequence[Grades], truth: Grades, bootstrap: PatientBootstrap
) -> dict[str, Floats]:
    """(seeds, 1 + draws) of each score."""
    if not len(seeds):
        raise ValueError("an approach needs the grades of at least one seed")
    drawn = np.stack([bootstrap.sums(cross_tables(truth, grades, GRADES)) for grades in seeds])
    return {name: score(drawn) for name, score in PAIRED_SCORES.items()}


def means(values: Mapping[str, Floats]) -> dict[str, Floats]:
    """(1 + draws,) of each score: the mean of all seeds, then of those that each draw takes.

    What is drawn depends on the number of seeds alone, so that approaches with equally many share it.
    """
    found = {}
    for name, of_seeds in values.items():
        count, rows = of_seeds.shape
        picks = np.random.default_rng((_SEED_DRAWS, count)).integers(0, count, (rows, count))
        picks[0] = np.arange(count)
        found[name] = np.take_along_axis(of_seeds, picks.T, 0).mean(0)
    return found


def _rounded(values: Floats) -> list[float | None]:
    return [round(value, DECIMALS) if np.isfinite(value) else None for value in values.tolist()]


def less(values: Mapping[str, Floats], other: Mapping[str, Floats]) -> dict[str, Floats]:
    """Each score less another approach's, draw by draw."""
    return {name: values[name] - other[name] for name in values}


def estimates(values: Mapping[str, Floats], bootstrap: PatientBootstrap) -> dict[str, Any]:
    """Each score with its interval."""
    return {name: bootstrap.score(drawn) for name, drawn in values.items()}
