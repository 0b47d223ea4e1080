"""Where what stands in a procedural section: outline, fat, tumour nests, ducts, lymphocytes, regions.

All functions of position in um, evaluated at points of any shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.sample.noise import NoiseField, derive_seed, hash_uniform

Points = NDArray[np.float64]

REGION_SPACING_UM = 1900.0
_DUCT_SPACING_UM = 620.0
_DUCT_CHANCE = 0.45


class Zone(IntEnum):
    """Kind of tissue at a position."""

    GLASS = 0
    STROMA = 1
    TUMOUR = 2
    DUCT = 3
    LUMEN = 4
    FAT = 5
    LYMPHOID = 6


@dataclass(frozen=True)
class JitteredLattice:
    """Points of a shaken hexagonal lattice, one per index pair (i, j)."""

    seed: int
    spacing_um: float
    jitter: float = 0.38

    @property
    def row_um(self) -> float:
        """Distance of two rows."""
        return self.spacing_um * 0.866

    def centers(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> tuple[Points, Points]:
        """Position (y_um, x_um) of the lattice points (i, j)."""
        shake = self.jitter * self.spacing_um
        y = (i + 0.5) * self.row_um + shake * (2 * hash_uniform(self.seed, i, j, 0) - 1)
        x = (j + 0.5 + 0.5 * (i % 2)) * self.spacing_um
        return y, x + shake * (2 * hash_uniform(self.seed, i, j, 1) - 1)

    def nearest(
        self, y_um: Points, x_um: Points
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Points]:
        """Indices (i, j) of the nearest lattice point, and its distance in um."""
        row = np.floor(y_um / self.row_um).astype(np.int64)
        best_i, best_j = np.zeros_like(row), np.zeros_like(row)
        best = np.full(np.shape(row), np.inf)
        for di in (-1, 0, 1):
            i = row + di
            column = np.floor(x_um / self.spacing_um - 0.5 * (i % 2)).astype(np.int64)
            for dj in (-1, 0, 1):
                j = column + dj
                y, x = self.centers(i, j)
                distance = np.hypot(y_um - y, x_um - x)
                closer = distance < best
                best = np.where(closer, distance, best)
                best_i, best_j = np.where(closer, i, best_i), np.where(closer, j, best_j)
        return best_i, best_j, best


class Anatomy:
    """The plan of one section.

    Parameters
    ----------
    seed : int
        Seed of the patient.
    size_um : (height, width)
        Extent of the glass; the tissue fills most of it.
    """

    def __init__(self, seed: int, size_um: tuple[float, float]) -> None:
        self.size_um = size_um
        self._outline = NoiseField(derive_seed(seed, 20), 0.16 * min(size_um))
        self._ragged = NoiseField(derive_seed(seed, 21), 90.0)
        self._fat = NoiseField(derive_seed(seed, 22), 620.0)
        self._invasion = NoiseField(derive_seed(seed, 23), 900.0)
        self._nests = NoiseField(derive_seed(seed, 24), 70.0)
        self._cords = NoiseField(derive_seed(seed, 25), 26.0)
        self._lymphoid = NoiseField(derive_seed(seed, 26), 150.0)
        self._ducts = JitteredLattice(derive_seed(seed, 27), _DUCT_SPACING_UM, jitter=0.25)
        self._regions = JitteredLattice(derive_seed(seed, 28), REGION_SPACING_UM, jitter=0.2)
        self._bent = tuple(NoiseField(derive_seed(seed, 30, k), 420.0) for k in range(2))
        self._nest_level = -0.45 + 0.5 * float(hash_uniform(derive_seed(seed, 29)))

    def zones(self, y_um: Points, x_um: Points) -> NDArray[np.int8]:
        """`Zone` of each position, int8."""
        zone = np.full(np.shape(y_um), Zone.STROMA, dtype=np.int8)
        zone[self._lymphoid.at(y_um, x_um) > 1.55] = Zone.LYMPHOID
        invasive = self._invasion.at(y_um, x_um) > -0.55
        nests = self._nests.at(y_um, x_um) + 0.45 * self._cords.at(y_um, x_um)
        zone[invasive & (nests > self._nest_level)] = Zone.TUMOUR
        self._place_ducts(zone, y_um, x_um, ~invasive)
        fat = self._fat.at(y_um, x_um) + 0.12 * self._cords.at(y_um, x_um)
        zone[(fat > np.where(invasive, 2.0, 0.7)) & (zone != Zone.TUMOUR)] = Zone.FAT
        zone[self._outside(y_um, x_um)] = Zone.GLASS
        return zone

    def region_of(self, y_um: Points, x_um: Points) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lattice indices (i, j) of the region, an area of one HER2 grade, at each position."""
        bend_y, bend_x = (130.0 * field.at(y_um, x_um) for field in self._bent)
        i, j, _ = self._regions.nearest(y_um + bend_y, x_um + bend_x)
        return i, j

    def _outside(self, y_um: Points, x_um: Points) -> NDArray[np.bool_]:
        """Whether a position lies off the tissue: a superellipse with a wavy, ragged edge."""
        height, width = self.size_um
        v = np.abs(2 * y_um / height - 1) / 0.86
        u = np.abs(2 * x_um / width - 1) / 0.86
        edge = v**3.2 + u**3.2 + 0.16 * self._outline.at(y_um, x_um)
        return edge + 12.0 / min(height, width) * self._ragged.at(y_um, x_um) > 1

    def _place_ducts(
        self, zone: NDArray[np.int8], y_um: Points, x_um: Points, host: NDArray[np.bool_]
    ) -> None:
        """Normal ducts: a ring of epithelium about a lumen, in tissue that is not invaded."""
        i, j, distance = self._ducts.nearest(y_um, x_um)
        present = host & (hash_uniform(self._ducts.seed, i, j, 2) < _DUCT_CHANCE)
        radius = 55 + 55 * hash_uniform(self._ducts.seed, i, j, 3)
        wavy = distance + 9 * self._cords.at(y_um, x_um)
        zone[present & (wavy < radius)] = Zone.DUCT
        zone[present & (wavy < radius - 26)] = Zone.LUMEN
