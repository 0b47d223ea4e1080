"""A cohort of procedural patients, each with registered tile pairs of known grade."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.geometry import Size
from napari_hmkd.sample.noise import derive_seed, hash_uniform
from napari_hmkd.sample.tissue import ProceduralTissue

# Extent of each patient's section; nothing of it is drawn but the tiles.
SECTION_UM = (6000.0, 6000.0)
_MIN_TILE_TUMOUR_SHARE = 0.30
_MAX_DRAWS_PER_TILE = 200


@dataclass(frozen=True)
class TileRecord:
    """One tile pair that has not been drawn yet.

    Attributes
    ----------
    patient : int
        Number of the patient in the cohort.
    y_um, x_um : float
        Top-left corner on the patient's section.
    grade : int
        HER2 grade 0 to 3 of the tile's own tumour cells.
    slide_grade : int
        Leading grade of the patient's section, the label that BCI would give.
    factors : tuple of 4 floats
        The tile's true H&E factors, in patient.FACTOR_NAMES' order.
    """

    patient: int
    y_um: float
    x_um: float
    grade: int
    slide_grade: int
    factors: tuple[float, float, float, float]


Records = tuple[TileRecord, ...]
Placing = tuple[int, int, int, float]
"""Seed, patients, tiles of each, and their side in um."""

_placed: dict[Placing, Records] = {}


def placed_tiles() -> Mapping[Placing, Records]:
    """The tiles of all cohorts of this process, whose placing takes up to a second a patient."""
    return dict(_placed)


def remember_placed(placed: Mapping[Placing, Records]) -> None:
    """Know the tiles that another process has placed."""
    _placed.update(placed)


class Cohort:
    """Tile pairs of several patients, from one seed.

    Parameters
    ----------
    seed : int
        Cohorts of different seeds share no patient.
    patients, tiles_per_patient : int
    tile_px : int
        Side of a tile in pixels.
    mpp : float
        Pixel size in um.
    spread : callable
        Takes what `map` takes, and gives it: places patients beside each other.
    """

    def __init__(
        self,
        seed: int,
        patients: int,
        tiles_per_patient: int,
        tile_px: int = 512,
        mpp: float = 0.92,
        spread: Callable[[Callable[[int], Records], Iterable[int]], Iterable[Records]] = map,
    ) -> None:
        self.seed, self.tile_px, self.mpp = seed, tile_px, mpp
        placing = (seed, patients, tiles_per_patient, tile_px * mpp)
        if placing not in _placed:
            place = partial(_place_tiles, seed, tiles_per_patient, tile_px * mpp)
            _placed[placing] = tuple(chain.from_iterable(spread(place, range(patients))))
        self.records = _placed[placing]

    def render(self, record: TileRecord) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw a tile's H&E and IHC, each (tile_px, tile_px, 3) uint8, registered."""
        return self.tissue(record.patient).render_pair(
            (record.y_um, record.x_um), Size(self.tile_px, self.tile_px), self.mpp
        )

    def tissue(self, patient: int) -> ProceduralTissue:
        """The section of a patient of this cohort."""
        return _tissue(self.seed, patient)


def _tissue(seed: int, patient: int) -> ProceduralTissue:
    return ProceduralTissue(derive_seed(seed, 60, patient), SECTION_UM)


def _place_tiles(seed: int, count: int, side_um: float, patient: int) -> Records:
    """Fields with enough tumour, anywhere on the patient's section."""
    tissue = _tissue(seed, patient)
    room = np.array(SECTION_UM) - side_um
    key = derive_seed(seed, 61, patient)
    records: list[TileRecord] = []
    for draw in range(count * _MAX_DRAWS_PER_TILE):
        if len(records) == count:
            break
        y, x = (float(v) for v in room * hash_uniform(key, draw, np.arange(2)))
        truth = tissue.truth((y, x), side_um)
        if truth.tumour_share >= _MIN_TILE_TUMOUR_SHARE:
            factors = tuple(float(f) for f in truth.factors)
            records.append(
                TileRecord(patient, y, x, truth.grade, tissue.patient.grade, factors)  # type: ignore[arg-type]
            )
    return tuple(records)
