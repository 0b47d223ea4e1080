"""The procedural cohort as a source of tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from dask.system import CPU_COUNT
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.sample.cohort import Cohort, Records
from napari_hmkd.sample.patient import oracle_grades
from napari_hmkd.training.config import CohortSettings, Labels
from napari_hmkd.training.parallel import processes
from napari_hmkd.training.tiles import TILE_MULTIPLE_PX, Tile

PROCEDURAL_MPP = 0.92
PROCEDURAL_NOTICE = "trained on procedural tissue, not for real tissue, research use only"

MANY_PATIENTS = 32  # fewer are placed before processes have started


class ProceduralSource:
    """Tiles of seeded synthetic patients; those without tumour have no grade and are left out.

    Raises
    ------
    DataError
        If the cohort's numbers are out of range.
    """

    notice = PROCEDURAL_NOTICE
    renders = True

    def __init__(
        self, settings: CohortSettings, labels: Labels, mpp: float = PROCEDURAL_MPP
    ) -> None:
        if settings.patients < 1 or settings.tiles_per_patient < 1 or not 0 < mpp < math.inf:
            raise DataError(
                "the cohort needs patients, tiles per patient and um/px above 0, got "
                f"{settings.patients}, {settings.tiles_per_patient} and {mpp}"
            )
        if settings.tile_px < 1 or settings.tile_px % TILE_MULTIPLE_PX:
            raise DataError(
                f"--tile-px must be a multiple of {TILE_MULTIPLE_PX}, got {settings.tile_px}"
            )
        self.cohort = Cohort(
            seed=settings.seed,
            patients=settings.patients,
            tiles_per_patient=settings.tiles_per_patient,
            tile_px=settings.tile_px,
            mpp=mpp,
            spread=_in_processes if settings.patients >= MANY_PATIENTS else map,
        )
        self.records = tuple(r for r in self.cohort.records if r.grade >= 0)
        self.tile_px, self.mpp = settings.tile_px, mpp
        self.tiles: Sequence[Tile] = tuple(
            Tile(
                name=f"seed{settings.seed}-patient{r.patient}-y{r.y_um:.0f}-x{r.x_um:.0f}",
                grade=int(r.grade if labels is Labels.TILE else r.slide_grade),
                patient=f"seed{settings.seed}-patient{r.patient}",
            )
            for r in self.records
        )
        self.identity = self.signature = f"procedural {settings} {mpp}"
        self.training_data = (
            f"procedural tissue, seed {settings.seed}, {settings.patients} patients, "
            f"{len(self.tiles)} tiles of {settings.tile_px} px at {mpp} um/px, "
            f"labels: {labels}"
        )

    def read(self, index: int) -> NDArray[np.uint8]:
        """One rendered pair, (2, tile_px, tile_px, 3) uint8: H&E, then IHC."""
        return np.stack(self.cohort.render(self.records[index]))

    def names(self, index: int) -> tuple[str, str]:
        """The tile's name for both pictures, which are in no file."""
        return self.tiles[index].name, self.tiles[index].name

    def oracle(self) -> NDArray[np.integer]:
        """(n,) grades of an observer who reads the true H&E factors of each tile."""
        return oracle_grades(np.array([record.factors for record in self.records]))


def _in_processes(place: Callable[[int], Records], patients: Iterable[int]) -> list[Records]:
    with processes(CPU_COUNT) as pool:
        return list(pool.map(place, patients))
