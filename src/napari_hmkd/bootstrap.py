"""Percentile intervals from a bootstrap that draws clusters, as patients or slides, with all they hold."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
MOST_UNDEFINED = 0.05
"""Share of draws that may be undefined; beyond it the others are a selection, and no sample."""
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
    undefined_draws : int
        Draws in which the number is undefined; the interval leaves them out.
    """

    value: float | None
    interval_95: tuple[float, float] | None = None
    reason: str = ""
    undefined_draws: int = 0


class ClusterBootstrap:
    """Draws of whole clusters with replacement (Davison & Hinkley 1997, section 3.8).

    What lies in one cluster resembles each other: drawn one by one it would seem to tell more than
    it does, and the intervals would be too narrow.

    Parameters
    ----------
    clusters : (n,)
        The cluster of each item.
    unit : str
        What messages call a cluster, such as "patient".
    draws : int
        How many; each draws as many clusters as there are.
    seed : int
        Equal seeds and clusters make equal draws, whatever the order of the items, so that
        differences of two graders are paired.

    Attributes
    ----------
    cluster : (n,) int
        Number of each item's cluster.
    weights : (1 + draws, clusters) float64
        How often each draw holds each cluster. The first row is the sample itself: all ones.
    """

    def __init__(
        self, clusters: Sequence[Hashable], unit: str, draws: int = DRAWS, seed: int = 0
    ) -> None:
        # Sorted, so that the order of the items changes no draw.
        numbers = {name: number for number, name in enumerate(sorted(set(clusters), key=str))}
        self.cluster = np.array([numbers[name] for name in clusters], np.intp)
        self._unit, count = unit, len(numbers)
        self.weights: Floats = np.ones((1 + draws, count))
        if count:
            rng = np.random.default_rng(seed)
            self.weights[1:] = rng.multinomial(count, np.full(count, 1 / count), size=draws)

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return self.weights.shape[1]

    def sums(self, values: NDArray[Any]) -> Floats:
        """Sums of (n, ...) over the sample's items, then over each draw's: (1 + draws, ...)."""
        per_cluster = np.zeros((self.clusters, *values.shape[1:]))
        np.add.at(per_cluster, self.cluster, values)
        return np.tensordot(self.weights, per_cluster, 1)

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
            Without an interval where there are fewer than two clusters, where more than 5 % of the
            draws are undefined, or where both ends are the same.
        """
        if not np.isfinite(values[0]):
            return Estimate(None, reason=undefined)
        value, drawn = float(values[0]), values[1:][np.isfinite(values[1:])]
        if self.clusters < 2:
            return Estimate(value, reason=f"no interval: one {self._unit} alone has none")
        draws = len(values) - 1
        missing = draws - len(drawn)
        if missing > MOST_UNDEFINED * draws:
            share = f"{100 * missing / draws:.0f} % of the draws"
            reason = f"no interval: undefined in {share}, too few {self._unit}s"
            return Estimate(value, None, reason, missing)
        low, high = np.percentile(drawn, _PERCENTILES).tolist()
        if np.isclose(low, high):
            return Estimate(value, None, NO_SPREAD, missing)
        return Estimate(value, (low, high), undefined_draws=missing)
