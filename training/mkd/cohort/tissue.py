"""The H&E of drawn patients: tumour cells that look as the patient's factors say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.geometry import Size
from napari_hmkd.sample.anatomy import Zone
from napari_hmkd.sample.cells import CellPlan
from napari_hmkd.sample.cohort import SECTION_UM
from napari_hmkd.sample.drawing import Scene
from napari_hmkd.sample.noise import derive_seed, hash_normal, hash_uniform
from napari_hmkd.sample.patient import FACTOR_FLOOR, FACTOR_NAMES, Patient
from napari_hmkd.training.mkd.cohort.design import SHOWN, CohortDesign
from napari_hmkd.training.mkd.cohort.factors import Factors

_PATIENT, _LOOKS, _PLACES = 88, 89, 90
LEAST_TISSUE = 0.5
"""Share of a tile that is tissue, at least."""
_POINTS = 8  # a side, at which a tile is asked for glass


@dataclass(frozen=True)
class DrawnPatient(Patient):
    """A procedural patient whose tumour cells follow given factors, not a HER2 grade.

    Attributes
    ----------
    design : CohortDesign
    shown : tuple of float
        What the tissue shows, in SHOWN's order.
    """

    design: CohortDesign
    shown: tuple[float, ...]

    def region_factors(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
        """Looks of the tumour cells of regions (i, j): (*i.shape, 4), in FACTOR_NAMES' order."""
        factor, look = np.arange(len(SHOWN)), len(SHOWN) + np.arange(len(FACTOR_NAMES))
        key, row, column = derive_seed(self.seed, _LOOKS), i[..., None], j[..., None]
        shown = self.shown + self.design.region_noise * hash_normal(key, row, column, factor)
        own = self.design.looks_noise * hash_normal(key, row, column, look)
        looks = self.design.looks_base + shown @ np.array(self.design.looks_slopes) + own
        return np.maximum(looks, FACTOR_FLOOR)


def draw_patient(design: CohortDesign, factors: Factors, number: int) -> DrawnPatient:
    """Patient `number` of a design."""
    plain = Patient.from_seed(derive_seed(design.seed, _PATIENT, number))
    return DrawnPatient(**vars(plain), design=design, shown=tuple(factors.shown[number].tolist()))


class Section:
    """A patient's section, of which tiles are drawn.

    Parameters
    ----------
    patient : Patient
    tile_px : int
        Side of a tile.
    mpp : float
        Pixel size in um.
    """

    def __init__(self, patient: Patient, tile_px: int, mpp: float) -> None:
        self._plan, self._tile_px, self._mpp = CellPlan(patient, SECTION_UM), tile_px, mpp

    def places(self, count: int) -> NDArray[np.int64]:
        """Corners of up to `count` tiles of tissue: (n, 2) (y, x) px, from a grid without overlap.

        Drawn without regard to what kind of tissue it is, as tiles of a slide are; in reading order.
        """
        grid = [int(extent / self._mpp) // self._tile_px for extent in SECTION_UM]
        corners = self._tile_px * np.stack(np.divmod(np.arange(grid[0] * grid[1]), grid[1]), axis=1)
        key = derive_seed(self._plan.patient.seed, _PLACES)
        drawn = corners[np.argsort(hash_uniform(key, np.arange(len(corners))))]
        tissue = (tuple(one) for one in drawn.tolist() if self._tissue_share(one) >= LEAST_TISSUE)
        return np.array(sorted(islice(tissue, count)), np.int64).reshape(-1, 2)

    def tiles(self, corners: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The H&E of each tile, (tile_px, tile_px, 3) uint8."""
        size = Size(self._tile_px, self._tile_px)
        for y, x in (corners * self._mpp).tolist():
            yield Scene(self._plan, (y, x), size, self._mpp).he()

    def _tissue_share(self, corner: Sequence[int]) -> float:
        steps = (np.arange(_POINTS) + 0.5) * self._tile_px / _POINTS
        y, x = np.meshgrid(*(self._mpp * (start + steps) for start in corner), indexing="ij")
        return float((self._plan.anatomy.zones(y, x) != Zone.GLASS).mean())
