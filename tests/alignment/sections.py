"""A drawn section in both stains, and its IHC moved, turned and scaled by what is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from napari_hmkd.geometry import Size
from napari_hmkd.sample import ProceduralTissue
from napari_hmkd.slide import Slide, find_tissue

GLASS = 243
MPP = 4.0
SIZE_UM = (3000.0, 3600.0)


@dataclass(frozen=True, eq=False)
class Section:
    """Registered stains of one section, uint8 (750, 900, 3) at `MPP`."""

    he: np.ndarray
    ihc: np.ndarray


@cache
def drawn(seed: int) -> Section:
    size = Size(*(round(extent / MPP) for extent in SIZE_UM))
    return Section(*ProceduralTissue(seed, SIZE_UM).render_pair((0.0, 0.0), size, MPP))


@dataclass(frozen=True, eq=False)
class Moved:
    """A section as another slide shows it, and the map of positions from the first, um, (3, 3)."""

    pixels: np.ndarray
    affine: np.ndarray


def move(
    pixels: np.ndarray,
    angle_deg: float = 0.0,
    scale: float = 1.0,
    corner_um: tuple[float, float] = (0.0, 0.0),
    mpp: float = MPP,
    mirrored: bool = False,
) -> Moved:
    """Turn and scale pixels of `MPP`, and lay them onto glass with that distance from its corner."""
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    affine = np.eye(3)
    affine[:2, :2] = scale * np.array([(cos, -sin), (sin, cos)]) @ np.diag((1, 1 - 2 * mirrored))
    height, width = np.multiply(pixels.shape[:2], MPP)
    corners = affine[:2, :2] @ np.array([(0, 0, height, height), (0, width, 0, width)])
    affine[:2, 2] = corner_um - corners.min(axis=1)
    extent = corner_um + np.ptp(corners, axis=1) + 500
    back = np.linalg.inv(affine)
    first = (back @ (mpp / 2, mpp / 2, 1))[:2] / MPP - 0.5
    shape = tuple(np.ceil(extent / mpp).astype(int))
    planes = [
        ndimage.affine_transform(
            pixels[..., channel], back[:2, :2] * mpp / MPP, first, shape, order=1, cval=GLASS
        )
        for channel in range(3)
    ]
    return Moved(np.stack(planes, axis=-1), affine)


def tissue_um(slide: Slide) -> np.ndarray:
    """Positions all over a slide's tissue, (n, 2)."""
    tissue = find_tissue(slide)
    return (np.argwhere(tissue.mask)[::20] + 0.5) * tissue.mpp
