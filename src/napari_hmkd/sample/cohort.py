"""A cohort of procedural patients, each with registered tile pairs of known grade."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.geometry import Size
from napari_hmkd.sample.noise import derive_seed, hash_uniform
from napari_hmkd.sample.patient import oracle_grades
from napari_hmkd.sample.tissue import ProceduralTissue

__all__ = ["Cohort", "TileRecord", "oracle_grades"]

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
    """

    def __init__(
        self,
        seed: int,
        patients: int,
        tiles_per_patient: int,
        tile_px: int = 512,
        mpp: float = 0.92,
    ) -> None:
        self.seed, self.tile_px, self.mpp = seed, tile_px, mpp
        self.records = _place_patients(seed, patients, tiles_per_patient, tile_px * mpp)

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


@lru_cache(maxsize=8)  # a quarter of a second per patient
def _place_patients(
    seed: int, patients: int, tiles_per_patient: int, side_um: float
) -> tuple[TileRecord, ...]:
    """The tiles of all patients, in their order."""
    return tuple(
        record
        for patient in range(patients)
        for record in _place_tiles(seed, patient, tiles_per_patient, side_um)
    )


def _place_tiles(seed: int, patient: int, count: int, side_um: float) -> list[TileRecord]:
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
    return records
