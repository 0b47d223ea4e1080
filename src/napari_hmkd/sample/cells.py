"""The cells of a procedural section: one candidate per point of a shaken lattice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.sample.anatomy import Anatomy, JitteredLattice, Zone
from napari_hmkd.sample.her2 import STAINING_SHARES
from napari_hmkd.sample.noise import NoiseField, derive_seed, hash_normal, hash_uniform
from napari_hmkd.sample.patient import Patient

Floats = NDArray[np.float64]

SPACING_UM = 11.0
FIBRE_PERIOD_UM = 75.0

# Semi-axes in um, relative chromatin and share of positions with a nucleus, for cells whose look
# does not depend on the grade.
_PLAIN_CELLS = {
    Zone.STROMA: (6.2, 1.7, 1.05, 0.38),
    Zone.DUCT: (3.7, 2.9, 0.95, 0.97),
    Zone.LYMPHOID: (3.4, 3.2, 1.55, 0.96),
}


@dataclass(frozen=True)
class Cells:
    """Cells of a block of lattice points; every array has the block's shape (rows, columns)."""

    first_row: int
    first_column: int
    y_um: Floats
    x_um: Floats
    zone: NDArray[np.int8]
    has_nucleus: NDArray[np.bool_]
    long_um: Floats
    short_um: Floats
    angle: Floats
    chromatin: Floats
    staining: NDArray[np.int64]
    factors: Floats  # (rows, columns, 4), the region's, in patient.FACTOR_NAMES' order

    @property
    def is_tumour(self) -> NDArray[np.bool_]:
        """Invasive tumour cells: those that HER2 is judged on."""
        return (self.zone == Zone.TUMOUR) & self.has_nucleus


class CellPlan:
    """All cells of one patient's section, made where they are asked for."""

    def __init__(self, patient: Patient, size_um: tuple[float, float]) -> None:
        self.patient = patient
        self.anatomy = Anatomy(patient.seed, size_um)
        self.lattice = JitteredLattice(derive_seed(patient.seed, 40), SPACING_UM, jitter=0.44)
        self.fibres = NoiseField(derive_seed(patient.seed, 41), FIBRE_PERIOD_UM)
        self._key = derive_seed(patient.seed, 42)

    def within(self, top_um: float, left_um: float, bottom_um: float, right_um: float) -> Cells:
        """Every cell that can own a point of the rectangle (and some neighbours outside it)."""
        rows = np.arange(
            int(top_um // self.lattice.row_um) - 2, int(bottom_um // self.lattice.row_um) + 3
        )
        columns = np.arange(int(left_um // SPACING_UM) - 3, int(right_um // SPACING_UM) + 4)
        i, j = np.meshgrid(rows, columns, indexing="ij")
        y, x = self.lattice.centers(i, j)
        zone = self.anatomy.zones(y, x)
        factors, grade = self._region(y, x)
        tumour = zone == Zone.TUMOUR
        long, short, chromatin, share = self._plain_shape(zone, i, j)
        self._shape_tumour(tumour, factors, i, j, long, short, chromatin, share)
        mitotic = tumour & (hash_uniform(self._key, i, j, 4) < factors[..., 3])
        long[mitotic], short[mitotic], chromatin[mitotic] = 4.6, 1.5, 2.3
        return Cells(
            first_row=int(rows[0]),
            first_column=int(columns[0]),
            y_um=y,
            x_um=x,
            zone=zone,
            has_nucleus=hash_uniform(self._key, i, j, 5) < share,
            long_um=long,
            short_um=short,
            angle=self._angles(zone, y, x, i, j),
            chromatin=chromatin,
            staining=self._staining(tumour, grade, i, j),
            factors=factors,
        )

    def _region(self, y: Floats, x: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """H&E factors and grade of the region that each cell lies in."""
        i, j = self.anatomy.region_of(y, x)
        return self.patient.region_factors(i, j), self.patient.region_grade(i, j)

    def _plain_shape(
        self, zone: NDArray[np.int8], i: NDArray[np.int64], j: NDArray[np.int64]
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Semi-axes, chromatin and chance of a nucleus, before tumour cells are set."""
        table = np.zeros((len(Zone), 4))
        table[:, :3] = 1.0
        for kind, row in _PLAIN_CELLS.items():
            table[kind] = row
        long, short, chromatin, share = np.moveaxis(table[zone], -1, 0)
        scale = np.exp(0.12 * hash_normal(self._key, i, j, 0))
        return long * scale, short * scale, chromatin.copy(), share.copy()

    def _shape_tumour(
        self,
        tumour: NDArray[np.bool_],
        factors: Floats,
        i: NDArray[np.int64],
        j: NDArray[np.int64],
        long: Floats,
        short: Floats,
        chromatin: Floats,
        share: Floats,
    ) -> None:
        """Write the tumour cells' shape, which carries the H&E part of the grade, in place."""
        radius, variation, darkness = (factors[tumour][:, k] for k in range(3))
        i, j = i[tumour], j[tumour]
        size = radius * np.exp(variation * hash_normal(self._key, i, j, 1))
        stretch = np.exp(0.06 + (0.06 + 0.5 * variation) * np.abs(hash_normal(self._key, i, j, 2)))
        long[tumour], short[tumour] = size * np.sqrt(stretch), size / np.sqrt(stretch)
        chromatin[tumour] = darkness * np.exp(0.6 * variation * hash_normal(self._key, i, j, 3))
        share[tumour] = 0.97

    def _angles(
        self,
        zone: NDArray[np.int8],
        y: Floats,
        x: Floats,
        i: NDArray[np.int64],
        j: NDArray[np.int64],
    ) -> Floats:
        """Direction of the long axis: along the fibres in stroma, at random elsewhere."""
        angle = np.pi * hash_uniform(self._key, i, j, 6)
        stroma = zone == Zone.STROMA
        if not stroma.any():
            return angle
        y, x = y[stroma], x[stroma]
        slope_y = self.fibres.at(y + 3, x) - self.fibres.at(y - 3, x)
        slope_x = self.fibres.at(y, x + 3) - self.fibres.at(y, x - 3)
        angle[stroma] = np.arctan2(slope_x, -slope_y) + 0.2 * (angle[stroma] - np.pi / 2)
        return angle

    def _staining(
        self,
        tumour: NDArray[np.bool_],
        grade: NDArray[np.int64],
        i: NDArray[np.int64],
        j: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """`her2.Staining` of each cell; cells that are no tumour do not stain."""
        edges = np.cumsum(STAINING_SHARES, axis=1)[grade]
        drawn = (hash_uniform(self._key, i, j, 7)[..., None] > edges[..., :-1]).sum(axis=-1)
        return np.where(tumour, drawn, 0)
