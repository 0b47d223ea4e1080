"""Two gradings of the same tiles or cases as tables, and how far they agree beyond chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def cross_tables(first: NDArray[np.integer], second: NDArray[np.integer], grades: int) -> Floats:
    """(n, grades, grades): a one at each item's first grade (row) and second grade (column)."""
    tables = np.zeros((len(first), grades, grades))
    tables[np.arange(len(first)), first, second] = 1
    return tables


def quadratic_kappa(tables: NDArray[np.number]) -> Floats:
    """Cohen's kappa with quadratic weights of (..., k, k) counts (Cohen 1968, Psychol Bull 70:213).

    1 - sum (i - j)^2 observed_ij / sum (i - j)^2 expected_ij, where expected is what the margins
    alone would give. NaN where that is 0: both constant and the same, or no item.
    """
    counts = np.asarray(tables, np.float64)
    grade = np.arange(counts.shape[-1])
    penalty = (grade[:, None] - grade) ** 2
    by_chance = counts.sum(-1)[..., :, None] * counts.sum(-2)[..., None, :]
    observed = (penalty * counts).sum((-2, -1)) * counts.sum((-2, -1))
    return 1 - ratio(observed, (penalty * by_chance).sum((-2, -1)))


def grade_of_most(area_mm2: Sequence[float]) -> int | None:
    """The grade that has most of an area per grade; None where two have the same, or none has any."""
    largest = max(area_mm2)
    most = np.flatnonzero(np.isclose(area_mm2, largest, rtol=1e-9)).tolist()
    return int(most[0]) if largest > 0 and len(most) == 1 else None


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Their ratio; NaN where the denominator is not above 0."""
    undefined = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) > 0)
