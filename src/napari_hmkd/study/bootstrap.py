"""Percentile intervals from a bootstrap that draws slides with all their cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
MOST_UNDEFINED = 0.05
"""Share of draws that may be undefined; beyond it the others are a selection, and no sample."""
ONE_SLIDE = "no interval: one slide alone has none"
NO_SPREAD = "no interval: the draws show no spread"
_PERCENTILES = (2.5, 97.5)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes
    ----------
    value : float or None
        None where it is undefined.
    interval_95 : tuple of float, or None
        Lower and upper end.
    reason : str
        Why value or interval is missing; empty where both are there.
    """

    value: float | None
    interval_95: tuple[float, float] | None = None
    reason: str = ""


class SlideBootstrap:
    """Draws of whole slides with replacement (Davison & Hinkley 1997, section 3.8).

    Cases of one slide resemble each other: drawn one by one they would seem to tell more than they
    do, and the intervals would be too narrow.

    Parameters
    ----------
    slides : (n,)
        The slide of each case.
    seed : int
        Equal seeds and slides make equal draws, whatever the order of the cases.

    Attributes
    ----------
    slides : int
        How many there are.
    """

    def __init__(self, slides: Sequence[str] | NDArray[np.str_], seed: int = 0) -> None:
        names, self._slide = np.unique(np.asarray(slides, np.str_), return_inverse=True)
        self.slides = len(names)
        # How often each draw holds each slide; the first row is the sample itself.
        self._weights: Floats = np.ones((1 + DRAWS, self.slides))
        if self.slides:
            even = np.full(self.slides, 1 / self.slides)
            rng = np.random.default_rng(seed)
            self._weights[1:] = rng.multinomial(self.slides, even, size=DRAWS)

    def sums(self, values: NDArray[Any]) -> Floats:
        """Sums of (n, ...) over the sample's cases, then over each draw's: (1 + draws, ...)."""
        per_slide = np.zeros((self.slides, *values.shape[1:]))
        np.add.at(per_slide, self._slide, values)
        return np.tensordot(self._weights, per_slide, 1)

    def estimate(self, values: Floats, undefined: str) -> Estimate:
        """A statistic with its percentile interval.

        Parameters
        ----------
        values : (1 + draws,)
            Of the sample, then of the draws; NaN where undefined.
        undefined : str
            Why the sample's is undefined, should it be.

        Returns
        -------
        Estimate
            Without an interval where there is one slide, where more than 5 % of the draws are
            undefined, or where both ends are the same.
        """
        if not np.isfinite(values[0]):
            return Estimate(None, reason=undefined)
        value, drawn = float(values[0]), values[1:][np.isfinite(values[1:])]
        if self.slides < 2:
            return Estimate(value, reason=ONE_SLIDE)
        missing = 1 - len(drawn) / DRAWS
        if missing > MOST_UNDEFINED:
            reason = f"no interval: undefined in {missing:.0%} of the draws, too few slides"
            return Estimate(value, reason=reason)
        low, high = np.percentile(drawn, _PERCENTILES).tolist()
        if np.isclose(low, high):
            return Estimate(value, reason=NO_SPREAD)
        return Estimate(value, (low, high))
