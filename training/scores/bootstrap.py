"""Percentile intervals from a bootstrap that draws patients with all their tiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.training.tiles import Tile

BOOTSTRAP_DRAWS = 2000
INTERVAL = 0.95
DECIMALS = 4
MOST_UNDEFINED = 0.05
"""Share of draws that may be undefined; beyond it the others are a selection, and no sample."""
ONE_GROUP = "no interval: one patient alone has none"
NO_SPREAD = "no interval: the draws show no spread"
_VALUES_AT_ONCE = 4_000_000  # tiles x draws held at a time: 32 MB

Floats = NDArray[np.float64]


class ClusterBootstrap:
    """Draws of whole groups (patients) with replacement (Davison & Hinkley 1997, section 3.8).

    Parameters
    ----------
    groups : (n,)
        The group of each tile.
    draws : int
        How many; each draws as many groups as there are.
    seed : int
        Equal seeds and groups make equal draws, so that differences of two graders are paired.

    Attributes
    ----------
    group : (n,) int
        Number of each tile's group.
    weights : (1 + draws, groups) float64
        How often each draw holds each group. The first row is the sample itself: all ones.
    """

    def __init__(
        self, groups: Sequence[Hashable], draws: int = BOOTSTRAP_DRAWS, seed: int = 0
    ) -> None:
        # Sorted, so that the order of the tiles changes no draw.
        numbers = {group: number for number, group in enumerate(sorted(set(groups), key=str))}
        self.group = np.array([numbers[group] for group in groups], np.intp)
        count = len(numbers)
        self.weights: Floats = np.ones((1 + draws, count))
        if count:
            rng = np.random.default_rng(seed)
            self.weights[1:] = rng.multinomial(count, np.full(count, 1 / count), size=draws)

    def sums(self, values: NDArray[Any]) -> Floats:
        """(1 + draws, ...): sums of (n, ...) over the tiles that each draw holds."""
        per_group = np.zeros((self.weights.shape[1], *values.shape[1:]))
        np.add.at(per_group, self.group, values)
        return np.tensordot(self.weights, per_group, 1)

    def mean(self, values: NDArray[Any], chosen: NDArray[np.bool_] | None = None) -> Floats:
        """(1 + draws,): means of (n,) over the chosen tiles of each draw; NaN where none is."""
        chosen = np.ones(len(values), bool) if chosen is None else chosen
        total, count = self.sums(np.where(chosen, values, 0)), self.sums(chosen)
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def each(self, score: Callable[[Floats], Floats]) -> Floats:
        """(1 + draws,): a score that takes (some draws, n) weights of tiles, a few draws at a time."""
        size = max(1, _VALUES_AT_ONCE // max(1, len(self.group)))
        starts = range(0, len(self.weights), size)
        return np.concatenate(
            [score(self.weights[start : start + size, self.group]) for start in starts]
        )

    def estimate(
        self, values: Floats, undefined: str = "undefined for these tiles"
    ) -> dict[str, Any]:
        """A score with its percentile interval, ready for JSON.

        Parameters
        ----------
        values : (1 + draws,)
            Of the sample, then of the draws; NaN where undefined.
        undefined : str
            Why the sample's score is undefined, should it be.

        Returns
        -------
        dict
            `value` (None where undefined), `interval_95` (two numbers; None where there are fewer
            than two groups, more than 5 % of the draws are undefined, or both ends are the same),
            `undefined_draws` where the score is undefined in some, and `reason` where value or
            interval is missing.
        """
        value, drawn = values[0], values[1:][np.isfinite(values[1:])]
        if not np.isfinite(value):
            return {"value": None, "interval_95": None, "reason": undefined}
        found: dict[str, Any] = {"value": round(float(value), DECIMALS), "interval_95": None}
        if self.weights.shape[1] < 2:
            return {**found, "reason": ONE_GROUP}
        draws = len(values) - 1
        if missing := draws - len(drawn):
            found["undefined_draws"] = missing
        if missing > MOST_UNDEFINED * draws:
            share = f"{100 * missing / draws:.0f} % of the draws"
            return {**found, "reason": f"no interval: undefined in {share}, too few patients"}
        tail = 100 * (1 - INTERVAL) / 2
        low, high = np.percentile(drawn, (tail, 100 - tail)).round(DECIMALS).tolist()
        if low == high:
            return {**found, "reason": NO_SPREAD}
        return {**found, "interval_95": [low, high]}


class Clusters(NamedTuple):
    """What a bootstrap draws: `names` (n,) of each tile's, and the sentence about it."""

    names: list[str]
    are_patients: bool
    sentence: str

    @property
    def patients(self) -> int | None:
        """How many patients there are; None where they are unknown or there is no tile."""
        return len(set(self.names)) if self.are_patients and self.names else None


def clusters_of(tiles: Sequence[Tile]) -> Clusters:
    """Patients; or tiles, where the patient of one is unknown.

    The intervals are then too narrow, and the sentence says so.
    """
    patients = [tile.patient for tile in tiles if tile.patient is not None]
    known = len(patients) == len(tiles)
    unit = "patients" if known else "tiles (patients are unknown: too narrow)"
    sentence = f"95 % percentile bootstrap over {unit}, {BOOTSTRAP_DRAWS} draws"
    return Clusters(patients if known else [tile.name for tile in tiles], known, sentence)
