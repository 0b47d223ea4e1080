"""The bootstrap over patients, and its estimates as the scores' files have them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.bootstrap import DRAWS, NO_SPREAD, ClusterBootstrap, Floats
from napari_hmkd.grade_tables import ratio
from napari_hmkd.training.tiles import Tile

DECIMALS = 4
_VALUES_AT_ONCE = 4_000_000  # tiles x draws held at a time: 32 MB


class PatientBootstrap(ClusterBootstrap):
    """Draws of whole patients with all their tiles.

    Parameters
    ----------
    groups : (n,)
        The patient of each tile.
    draws, seed : int
        As of `ClusterBootstrap`.
    items : str
        What messages call the tiles, in the plural.
    """

    def __init__(
        self,
        groups: Sequence[Hashable],
        draws: int = DRAWS,
        seed: int = 0,
        *,
        items: str = "tiles",
    ) -> None:
        super().__init__(groups, "patient", draws, seed)
        self._items = items

    @property
    def item_weights(self) -> Floats:
        """(1 + draws, n): how often the sample, then each draw, holds each item."""
        return self.weights[:, self.cluster]

    def mean(self, values: NDArray[Any], chosen: NDArray[np.bool_] | None = None) -> Floats:
        """(1 + draws,): means of (n,) over the chosen tiles of each draw; NaN where none is."""
        chosen = np.ones(len(values), bool) if chosen is None else chosen
        return ratio(self.sums(np.where(chosen, values, 0)), self.sums(chosen))

    def each(self, score: Callable[[Floats], Floats]) -> Floats:
        """(1 + draws,): a score that takes (some draws, n) weights of tiles, a few draws at a time."""
        size = max(1, _VALUES_AT_ONCE // max(1, len(self.cluster)))
        starts = range(0, len(self.weights), size)
        return np.concatenate(
            [score(self.weights[start : start + size, self.cluster]) for start in starts]
        )

    def score(self, values: Floats, undefined: str = "") -> dict[str, Any]:
        """`ClusterBootstrap.estimate`, rounded and ready for JSON.

        Parameters
        ----------
        values : (1 + draws,)
            Of the sample, then of the draws; NaN where undefined.
        undefined : str
            Why the sample's is undefined, should it be; empty where that is not known.

        Returns
        -------
        dict
            `value` and `interval_95`, None where there is none; `undefined_draws` where the score is
            undefined in some; and `reason` where value or interval is missing.
        """
        found = self.estimate(values, undefined or f"undefined for these {self._items}")
        value = None if found.value is None else round(found.value, DECIMALS)
        interval, reason = None, found.reason
        if found.interval_95 is not None:
            interval = np.round(found.interval_95, DECIMALS).tolist()
            if interval[0] == interval[1]:
                interval, reason = None, NO_SPREAD
        more = {"undefined_draws": found.undefined_draws, "reason": reason}
        return {"value": value, "interval_95": interval} | {k: v for k, v in more.items() if v}


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
    sentence = f"95 % percentile bootstrap over {unit}, {DRAWS} draws"
    return Clusters(patients if known else [tile.name for tile in tiles], known, sentence)
