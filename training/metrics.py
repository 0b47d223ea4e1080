"""Scores of grades, with intervals that respect patients."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRADES = 4
BOOTSTRAP_DRAWS = 2000
INTERVAL = 0.95


def confusion_per_group(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], groups: Sequence[Hashable]
) -> NDArray[np.int64]:
    """(groups, 4, 4) counts: rows the true grade, columns the predicted one."""
    names = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    rows = np.array([names[group] for group in groups])
    counts = np.zeros((len(names), GRADES, GRADES), np.int64)
    np.add.at(counts, (rows, np.asarray(truth), np.asarray(predicted)), 1)
    return counts


def quadratic_kappa(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """Cohen's kappa with quadratic weights of (..., 4, 4) counts.

    NaN where it is undefined: all tiles of one grade and all predicted as that grade.
    """
    counts = np.asarray(confusion, np.float64)
    grade = np.arange(GRADES)
    penalty = (grade[:, None] - grade[None, :]) ** 2
    total = counts.sum((-2, -1))
    chance = counts.sum(-1)[..., :, None] * counts.sum(-2)[..., None, :]
    observed = (penalty * counts).sum((-2, -1)) * total
    expected = (penalty * chance).sum((-2, -1))
    undefined = np.full_like(expected, np.nan)
    return 1 - np.divide(observed, expected, out=undefined, where=expected > 0)


def accuracy(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """Share of tiles on the diagonal of (..., 4, 4) counts."""
    counts = np.asarray(confusion, np.float64)
    return np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1))


def scores(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    groups: Sequence[Hashable],
    seed: int = 0,
) -> dict[str, Any]:
    """Kappa and accuracy with 95 % bootstrap intervals over groups, and the confusion matrix.

    Groups (patients) are drawn with replacement, with all their tiles.
    """
    per_group = confusion_per_group(truth, predicted, groups)
    rng = np.random.default_rng(seed)
    n = len(per_group)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=BOOTSTRAP_DRAWS)
    drawn = np.einsum("dg,gij->dij", weights, per_group)
    whole = per_group.sum(0)
    return {
        "quadratic_weighted_kappa": _with_interval(quadratic_kappa(whole), quadratic_kappa(drawn)),
        "accuracy": _with_interval(accuracy(whole), accuracy(drawn)),
        "confusion": whole.tolist(),
    }


def _with_interval(
    value: NDArray[np.float64], drawn: NDArray[np.float64]
) -> dict[str, float | list[float] | None]:
    """A score and its percentile interval; None where the score is undefined."""
    drawn = drawn[np.isfinite(drawn)]
    tail = 100 * (1 - INTERVAL) / 2
    bounds = np.percentile(drawn, (tail, 100 - tail)).round(4).tolist() if len(drawn) else []
    return {
        "value": round(float(value), 4) if np.isfinite(value) else None,
        "interval_95": bounds,
    }
