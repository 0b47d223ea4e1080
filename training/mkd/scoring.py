"""Scores over the folds: the mean of what each fold's test cases say, with two intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import sem
from scipy.stats import t as student_t

from napari_hmkd.bootstrap import DRAWS, Floats
from napari_hmkd.training.mkd import metrics
from napari_hmkd.training.scores.bootstrap import DECIMALS, PatientBootstrap
from napari_hmkd.training.scores.calibration import probabilities

# What a fold's own test cases tell, and the mean of it over the folds is the score.
OF_FOLDS: dict[str, metrics.Score] = {
    "auc": metrics.auc,
    "average_precision": metrics.precision_area,
    "accuracy": metrics.right_share,
    "f1": metrics.f1,
    "kappa": metrics.kappa,
}
# Of two classes it is what accuracy says already.
OF_ORDERED: dict[str, metrics.Score] = {"mae": metrics.class_distance}
# Where else than from 0 to 1 a score, or a difference of two, can lie.
LIMITS = {"kappa": (-1, 1), "auc_difference": (-1, 1), "mae": (0, np.inf)}
# Bins want many cases: those of all folds together.
POOLED: Mapping[str, str] = {
    "ece": "probabilities",
    "ece_uncalibrated": "uncalibrated",
}
INTERVALS = (
    f"interval_95: percentile bootstrap over patients within folds, {DRAWS} draws; interval_over_folds: "
    "t interval of the folds' scores, cut off where no score can lie; they share training cases and so are no "
    "independent sample"
)


@dataclass(frozen=True, eq=False)
class FoldAnswers:
    """What a network says about a fold's test cases.

    Attributes
    ----------
    cases, patients : tuple of str
        (n,) names.
    labels : (n,) int
    logits : (n, classes)
        As the network gives them.
    temperature : float
        Fitted on the fold's validation cases.
    """

    cases: tuple[str, ...]
    patients: tuple[str, ...]
    labels: NDArray[np.integer]
    logits: NDArray[np.floating]
    temperature: float

    @property
    def ordered(self) -> bool:
        """Whether the classes have an order that means something, as all that are more than two have."""
        return self.logits.shape[1] > 2

    @property
    def probabilities(self) -> Floats:
        """(n, classes) after temperature scaling."""
        return probabilities(self.logits, self.temperature)

    @property
    def uncalibrated(self) -> Floats:
        """(n, classes) without it."""
        return probabilities(self.logits, 1.0)


Rows = Mapping[str, Sequence[FoldAnswers]]
"""By the title of a network, its answers in each fold."""


def score_rows(rows: Rows, reference: str | None = None) -> dict[str, dict[str, Any]]:
    """Scores of several networks over the same folds.

    Every draw takes patients with replacement within each fold, the same ones for all networks, so
    that what is hard for all cancels in a difference.

    Parameters
    ----------
    rows : mapping of title to one FoldAnswers for each fold
    reference : str, optional
        The row whose area under the ROC curve is taken from each other one's.

    Returns
    -------
    dict
        By title and score (`mae` of ordered classes alone): `value`, `interval_95`, where a score is
        a mean over folds also `per_fold` and `interval_over_folds`, and where there is none `reason`.

    Notes
    -----
    The t interval knows no bounds: of three folds with areas of 1, 0.99 and 0.9 it ends at 1.1. It is
    cut off at the ends of a score's range, which takes away values that are impossible, and so no coverage.
    """
    first = next(iter(rows.values()))
    draws = [PatientBootstrap(fold.patients, seed=k, items="cases") for k, fold in enumerate(first)]
    every = PatientBootstrap([name for fold in first for name in fold.patients], items="cases")
    drawn = {title: _drawn(folds, draws) for title, folds in rows.items()}
    found: dict[str, dict[str, Any]] = {}
    for title, scores in drawn.items():
        found[title] = {
            name: every.score(values.mean(0))
            | ({} if name in POOLED else _over_folds(name, values))
            for name, values in scores.items()
        }
        if reference in drawn and title != reference:
            less = scores["auc"] - drawn[reference]["auc"]
            found[title]["auc_difference"] = every.score(less.mean(0)) | _over_folds(
                "auc_difference", less
            )
    return found


def _drawn(folds: Sequence[FoldAnswers], draws: Sequence[PatientBootstrap]) -> dict[str, Floats]:
    """Each score of the folds (of all together one), of the sample and the draws: (folds, 1 + draws)."""
    weights = [bootstrap.item_weights for bootstrap in draws]
    scores = {
        name: np.array(
            [
                score(fold.probabilities, fold.labels, w)
                for fold, w in zip(folds, weights, strict=True)
            ]
        )
        for name, score in (OF_FOLDS | (OF_ORDERED if folds[0].ordered else {})).items()
    }
    labels, together = np.concatenate([fold.labels for fold in folds]), np.hstack(weights)
    for name, kind in POOLED.items():
        answers = np.concatenate([getattr(fold, kind) for fold in folds])
        scores[name] = metrics.calibration_error(answers, labels, together)[None]
    return scores


def _over_folds(name: str, values: Floats) -> dict[str, Any]:
    """The folds' own scores, and the interval that they span as if they were a sample, within its limits."""
    own = values[:, 0]
    half = student_t.ppf(0.975, len(own) - 1) * sem(own)
    ends = np.clip([own.mean() - half, own.mean() + half], *LIMITS.get(name, (0, 1)))
    return {
        "per_fold": np.round(own, DECIMALS).tolist(),
        "interval_over_folds": np.round(ends, DECIMALS).tolist() if np.isfinite(half) else None,
    }
