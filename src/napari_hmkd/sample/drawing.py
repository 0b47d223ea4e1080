"""From cells to pixels: the H&E and the IHC of the same section."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_hmkd.geometry import Size
from napari_hmkd.sample.anatomy import JitteredLattice, Zone
from napari_hmkd.sample.cells import CellPlan, Cells
from napari_hmkd.sample.her2 import Staining
from napari_hmkd.sample.noise import NoiseField, derive_seed

Plane = NDArray[np.floating]

_OPTICS_SIGMA_UM = 0.35
_ADIPOCYTE_SPACING_UM = 58.0
_FIBRE_BANDS = 7.0

# Eosin and haematoxylin of the ground that a cell's territory is filled with.
_GROUND_EOSIN = {
    Zone.STROMA: 0.62,
    Zone.TUMOUR: 0.50,
    Zone.DUCT: 0.55,
    Zone.LYMPHOID: 0.38,
}
_GROUND_HAEMATOXYLIN = {
    Zone.STROMA: 0.03,
    Zone.TUMOUR: 0.16,
    Zone.DUCT: 0.14,
    Zone.LYMPHOID: 0.12,
}
# DAB on the membrane and in the cytoplasm, and half width of the stained membrane in um.
_MEMBRANE_DAB = {
    Staining.FAINT_INCOMPLETE: 0.40,
    Staining.MODERATE_COMPLETE: 0.85,
    Staining.INTENSE_COMPLETE: 1.90,
}
_CYTOPLASM_DAB = {
    Staining.FAINT_INCOMPLETE: 0.02,
    Staining.MODERATE_COMPLETE: 0.07,
    Staining.INTENSE_COMPLETE: 0.28,
}
_MEMBRANE_UM = {
    Staining.FAINT_INCOMPLETE: 0.55,
    Staining.MODERATE_COMPLETE: 0.70,
    Staining.INTENSE_COMPLETE: 1.10,
}


def _table(values: dict, length: int) -> Plane:
    """Lookup table of a sparse mapping, zero elsewhere."""
    table = np.zeros(length, dtype=np.float32)
    for key, value in values.items():
        table[key] = value
    return table


@dataclass
class Territories:
    """Which lattice point owns each pixel: flat index, offset from its centre, distance to the next.

    `gap_um` is the difference of the distances to the nearest and second nearest centre: zero on
    the border of two territories.
    """

    owner: NDArray[np.int32]
    dy_um: Plane
    dx_um: Plane
    gap_um: Plane


def find_territories(
    lattice: JitteredLattice,
    first: tuple[int, int],
    centers: tuple[NDArray, NDArray],
    y_um: NDArray[np.floating],
    x_um: NDArray[np.floating],
) -> Territories:
    """Voronoi territories of lattice points over the crossings of two axes.

    Parameters
    ----------
    lattice : JitteredLattice
        The lattice; its jitter is small enough that the owner is among the nine nearest cells.
    first : (row, column)
        Lattice indices of centers[..][0, 0].
    centers : two (rows, columns) arrays
        Positions y_um, x_um of a block of lattice points around the pixels.
    y_um, x_um : (h,) and (w,) float
        Axes of the pixels.
    """
    cy, cx = (c.astype(np.float32).ravel() for c in centers)
    columns = centers[0].shape[1]
    y = y_um.astype(np.float32)[:, None]
    x = x_um.astype(np.float32)[None, :]
    row = np.floor(y_um / lattice.row_um).astype(np.int64)[:, None]
    shape = (len(y_um), len(x_um))
    nearest, second = np.full(shape, np.inf, np.float32), np.full(shape, np.inf, np.float32)
    owner = np.zeros(shape, np.int32)
    for di in (-1, 0, 1):
        i = row + di
        column = np.floor(x_um[None, :] / lattice.spacing_um - 0.5 * (i % 2)).astype(np.int64)
        base = ((i - first[0]) * columns + column - first[1]).astype(np.int32)
        for dj in (-1, 0, 1):
            index = base + dj
            distance = (y - cy[index]) ** 2 + (x - cx[index]) ** 2
            closer = distance < nearest
            second = np.where(closer, nearest, np.minimum(second, distance))
            owner = np.where(closer, index, owner)
            nearest = np.minimum(nearest, distance)
    return Territories(owner, y - cy[owner], x - cx[owner], np.sqrt(second) - np.sqrt(nearest))


class Scene:
    """One rectangle of a section, drawn at one pixel size; both stains share its geometry.

    Parameters
    ----------
    plan : CellPlan
        The section.
    origin_um : (y, x)
        Top-left corner in um.
    size : Size
        Pixels.
    mpp : float
        Pixel size in um: nothing sharper than a pixel is drawn.
    """

    def __init__(
        self, plan: CellPlan, origin_um: tuple[float, float], size: Size, mpp: float
    ) -> None:
        self.plan, self.mpp = plan, mpp
        # A pixel sums the light over its square: as wide as a Gaussian of 1 / sqrt(12) pixel.
        self._blur_px = float(np.hypot(_OPTICS_SIGMA_UM / mpp, 0.29))
        # Drawn with a margin as wide as the blur, so that neighbouring scenes meet without a seam.
        self._margin_px = int(np.ceil(3 * self._blur_px))
        self.y_um, self.x_um = (
            start + (np.arange(-self._margin_px, length + self._margin_px) + 0.5) * mpp
            for start, length in zip(origin_um, (size.height, size.width), strict=True)
        )
        y_um, x_um = self.y_um, self.x_um
        self.cells: Cells = plan.within(y_um[0], x_um[0], y_um[-1], x_um[-1])
        cells = self.cells
        self.territories = find_territories(
            plan.lattice,
            (cells.first_row, cells.first_column),
            (cells.y_um, cells.x_um),
            y_um,
            x_um,
        )
        self.zone = cells.zone.ravel()[self.territories.owner]

    def _noise(self, key: int, period_um: float) -> Plane:
        """Noise, faded where its features are finer than the pixels can show."""
        fade = np.float32(1 / (1 + (1.5 * self.mpp / period_um) ** 4))
        field = NoiseField(derive_seed(self.plan.patient.seed, key), period_um)
        return fade * field.grid(self.y_um, self.x_um)

    def _own(self, values: NDArray) -> Plane:
        """A per-cell quantity, spread over the cells' territories."""
        return values.astype(np.float32).ravel()[self.territories.owner]

    @cached_property
    def nuclei(self) -> tuple[Plane, Plane]:
        """Coverage of the nucleus, 0 to 1, and relative distance from its centre (1 at its rim)."""
        cells, t = self.cells, self.territories
        cos, sin = np.cos(cells.angle), np.sin(cells.angle)
        along = self._own(sin / cells.long_um) * t.dy_um + self._own(cos / cells.long_um) * t.dx_um
        across = (
            self._own(cos / cells.short_um) * t.dy_um - self._own(sin / cells.short_um) * t.dx_um
        )
        radius = np.hypot(along, across) * (1 + 0.07 * self._noise(50, 3.0))
        edge_um = max(self.mpp, 0.6)
        coverage = np.clip((1 - radius) * self._own(cells.short_um) / edge_um + 0.5, 0, 1)
        # A nucleus ends inside its cell: fade it towards the border of the territory.
        coverage *= np.clip(t.gap_um / 1.2, 0, 1) * self._own(cells.has_nucleus)
        return coverage, radius

    @cached_property
    def fat_walls(self) -> Plane:
        """Membranes between fat cells, 0 to 1."""
        lattice = JitteredLattice(derive_seed(self.plan.patient.seed, 51), _ADIPOCYTE_SPACING_UM)
        rows = np.arange(self.y_um[0] // lattice.row_um - 2, self.y_um[-1] // lattice.row_um + 3)
        columns = np.arange(
            self.x_um[0] // lattice.spacing_um - 3, self.x_um[-1] // lattice.spacing_um + 4
        )
        i, j = np.meshgrid(rows.astype(np.int64), columns.astype(np.int64), indexing="ij")
        walls = find_territories(
            lattice, (int(rows[0]), int(columns[0])), lattice.centers(i, j), self.y_um, self.x_um
        )
        return np.exp(-((walls.gap_um / (2.2 + self.mpp)) ** 2))

    def he(self) -> NDArray[np.uint8]:
        """The H&E, (h, w, 3) uint8."""
        eosin, haematoxylin = self._ground()
        coverage, radius = self.nuclei
        texture = 1 + 0.22 * self._noise(52, 1.4) + 0.22 * (np.minimum(radius, 1) ** 2 - 0.5)
        chromatin = self._own(self.cells.chromatin) * texture
        eosin = eosin * (1 - 0.45 * coverage)
        haematoxylin = haematoxylin * (1 - coverage) + coverage * chromatin
        stains = self.plan.patient.stains
        return self._expose([(eosin, stains.eosin), (haematoxylin, stains.haematoxylin)])

    def ihc(self) -> NDArray[np.uint8]:
        """The HER2 IHC (DAB with haematoxylin counterstain), (h, w, 3) uint8."""
        eosin, _ = self._ground()
        coverage, _ = self.nuclei
        chromatin = 0.55 + 0.35 * self._own(self.cells.chromatin)
        counterstain = coverage * chromatin * (1 + 0.2 * self._noise(52, 1.4)) + 0.12 * eosin
        stains = self.plan.patient.stains
        return self._expose([(counterstain, stains.counterstain), (self._dab(), stains.dab)])

    def _ground(self) -> tuple[Plane, Plane]:
        """Eosin and haematoxylin of everything but the nuclei."""
        mottle = self._noise(53, 9.0)
        fibres = self.plan.fibres.grid(self.y_um, self.x_um)
        waves = np.sin(2 * np.pi * _FIBRE_BANDS * fibres + 1.6 * self._noise(54, 12.0))
        eosin = _table(_GROUND_EOSIN, len(Zone))[self.zone]
        stroma = self.zone == Zone.STROMA
        fine = 0.10 * self._noise(57, 2.2) + 0.08 * self._noise(58, 5.0)
        eosin *= 1 + fine + np.where(stroma, 0.16 * waves + 0.14 * mottle, 0.13 * mottle)
        # Shrinkage opens clefts between collagen bundles.
        eosin *= 1 - 0.85 * np.clip((waves + 1.1 * self._noise(55, 45.0) - 2.3) * 3, 0, 1) * stroma
        eosin += 0.42 * self.fat_walls * (self.zone == Zone.FAT)
        border = np.exp(-((self.territories.gap_um / (0.6 + self.mpp)) ** 2))
        eosin *= 1 - 0.25 * border * (self.zone == Zone.TUMOUR)
        haematoxylin = _table(_GROUND_HAEMATOXYLIN, len(Zone))[self.zone] * (1 + 0.3 * mottle)
        return np.maximum(eosin, 0), np.maximum(haematoxylin, 0)

    def _dab(self) -> Plane:
        """Brown stain: on the cells' borders, more or less complete, and faint in the cytoplasm."""
        t = self.territories
        staining = self.cells.staining.ravel()[t.owner]
        sharp = _table(_MEMBRANE_UM, len(Staining))[staining] + np.float32(1e-6)
        width = np.sqrt(sharp**2 + (0.35 * self.mpp) ** 2)
        ring = np.exp(-((t.gap_um / (2 * width)) ** 2)) * (sharp / width)
        phase = np.arctan2(t.dy_um, t.dx_um) + 2 * self._own(self.cells.angle)
        part = np.clip(0.4 + 1.2 * np.cos(phase) + 0.5 * self._noise(56, 5.0), 0, 1)
        ring *= np.where(
            staining == Staining.FAINT_INCOMPLETE, part, 1 + 0.12 * self._noise(56, 5.0)
        )
        amount = _table(_MEMBRANE_DAB, len(Staining))[staining] * ring
        return np.maximum(amount + _table(_CYTOPLASM_DAB, len(Staining))[staining], 0)

    def _expose(self, layers: list[tuple[Plane, NDArray[np.float32]]]) -> NDArray[np.uint8]:
        """Light that passes the stains (Beer-Lambert), through the optics, on a white lamp of 243."""
        density = sum(amount[..., None] * vector for amount, vector in layers)
        light = gaussian_filter(
            243.0 * np.exp(-density), (self._blur_px, self._blur_px, 0), truncate=3.0
        )
        inside = slice(self._margin_px, -self._margin_px)
        light = light[inside, inside]
        return np.clip(light + 0.5, 0, 255).astype(np.uint8)
