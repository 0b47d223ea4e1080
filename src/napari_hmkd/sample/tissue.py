"""One procedural section with two stains: what the rest of the package asks for pixels and truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.geometry import Size
from napari_hmkd.sample.cells import CellPlan, Cells
from napari_hmkd.sample.drawing import Scene
from napari_hmkd.sample.her2 import grade_of_cells
from napari_hmkd.sample.patient import Patient

Stain = Literal["he", "ihc"]

# Below this share of a tile's cells, tumour is too little to judge the tile by.
MIN_TUMOUR_SHARE = 0.10


@dataclass(frozen=True)
class FieldTruth:
    """What is known of a field of tissue.

    Attributes
    ----------
    grade : int
        HER2 grade 0 to 3 of the field's tumour cells, -1 where there are too few to judge.
    tumour_share : float
        Share of the lattice positions that hold a tumour cell, 0 to 1.
    factors : (4,) float
        Mean H&E factors of the tumour cells, in patient.FACTOR_NAMES' order; NaN without any.
    """

    grade: int
    tumour_share: float
    factors: NDArray[np.float64]


class ProceduralTissue:
    """A section of one patient's tumour, drawn where it is looked at.

    Parameters
    ----------
    seed : int
        Seed of the patient; the same seed and size always give the same section.
    size_um : (height, width)
        Extent of the glass in um.
    """

    def __init__(self, seed: int, size_um: tuple[float, float]) -> None:
        self.size_um = size_um
        self.patient = Patient.from_seed(seed)
        self._plan = CellPlan(self.patient, size_um)

    def render(
        self, stain: Stain, origin_um: tuple[float, float], size: Size, mpp: float
    ) -> NDArray[np.uint8]:
        """Draw a rectangle of one stain.

        Parameters
        ----------
        stain : "he" or "ihc"
        origin_um : (y, x)
            Top-left corner in um from the top-left corner of the glass.
        size : Size
            Height and width in pixels.
        mpp : float
            Pixel size in um.

        Returns
        -------
        (height, width, 3) uint8
        """
        scene = Scene(self._plan, origin_um, size, mpp)
        return scene.he() if stain == "he" else scene.ihc()

    def render_pair(
        self, origin_um: tuple[float, float], size: Size, mpp: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw a rectangle in both stains, registered to the pixel: (H&E, IHC), see `render`."""
        scene = Scene(self._plan, origin_um, size, mpp)
        return scene.he(), scene.ihc()

    def cells(self, origin_um: tuple[float, float], size_um: tuple[float, float]) -> Cells:
        """The cells about a rectangle, those whose territory may reach into it included."""
        top, left = origin_um
        return self._plan.within(top, left, top + size_um[0], left + size_um[1])

    def truth(self, origin_um: tuple[float, float], side_um: float) -> FieldTruth:
        """Truth of a square field, over the cells whose centre lies in it."""
        cells = self.cells(origin_um, (side_um, side_um))
        y, x = cells.y_um - origin_um[0], cells.x_um - origin_um[1]
        inside = (y >= 0) & (y < side_um) & (x >= 0) & (x < side_um)
        tumour = inside & cells.is_tumour
        share = float(tumour.sum() / inside.sum())
        factors = cells.factors[tumour]
        return FieldTruth(
            grade=grade_of_cells(cells.staining[tumour]) if share >= MIN_TUMOUR_SHARE else -1,
            tumour_share=share,
            factors=factors.mean(axis=0) if len(factors) else np.full(4, np.nan),
        )
