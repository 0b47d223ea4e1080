"""Tiles of the IHC slide, read through an alignment."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from napari_hmkd.alignment.alignment import Alignment
from napari_hmkd.geometry import Size
from napari_hmkd.slide import Slide

_UNTURNED_PX = 1e-3  # what the tile's far corner may be off
_RIM_PX = 8  # beyond the tile: what a cubic spline looks at


def read_ihc_tile(
    ihc_slide: Slide,
    alignment: Alignment,
    he_origin_px: tuple[float, float],
    he_mpp: tuple[float, float],
    tile_px: int,
    mpp: float,
) -> np.ndarray:
    """The tissue of an H&E tile as it looks on the IHC, turned and scaled to lie over it.

    The IHC is read at the pixel size that one pixel of the tile has there, so that where it lies neither
    turned nor sheared these are the pixels of `Slide.read`; else they are interpolated by cubic splines.

    Parameters
    ----------
    ihc_slide : Slide
    alignment : Alignment
    he_origin_px : (y, x)
        Top left corner of the tile in level-0 pixels of the H&E.
    he_mpp : (y, x)
        Pixel size of the H&E's level 0, um/px.
    tile_px : int
        Side of the tile in pixels of `mpp`.
    mpp : float
        Pixel size of the tile, um/px on the H&E.

    Returns
    -------
    uint8 (tile_px, tile_px, 3). White outside the slide.

    Raises
    ------
    SlideReadError
        The IHC is damaged there, or does not answer.
    PixelSizeError
        The IHC's pixel size is unknown, or it is too coarse; see `Slide.enlargement`.
    """
    linear = alignment.affine[:2, :2]
    scale = math.sqrt(np.linalg.det(linear))  # IHC um per H&E um
    linear = linear / scale  # from pixels of the tile to those that are read
    corner_um = alignment.to_ihc(np.multiply(he_origin_px, he_mpp))
    ihc_mpp = ihc_slide.require_mpp()
    if np.allclose(linear, np.eye(2), rtol=0, atol=_UNTURNED_PX / tile_px):
        # Without a rim: damage beside the tile is none of it.
        y, x = (corner_um / ihc_mpp).tolist()
        return ihc_slide.read((y, x), Size(tile_px, tile_px), mpp * scale)
    corners = linear @ (tile_px * np.array([(0, 0), (0, 1), (1, 0), (1, 1)]).T)
    before = np.ceil(-corners.min(axis=1)).astype(int) + _RIM_PX
    after = np.ceil(corners.max(axis=1)).astype(int) + _RIM_PX
    origin = (corner_um - before * mpp * scale) / ihc_mpp
    around = ihc_slide.read((origin[0], origin[1]), Size(*(before + after).tolist()), mpp * scale)
    offset = linear @ (0.5, 0.5) + before - 0.5  # of the middle of the tile's first pixel
    tile = np.empty((tile_px, tile_px, 3), np.uint8)
    for channel in range(3):
        plane = around[..., channel].astype(np.float32)
        warped = ndimage.affine_transform(plane, linear, offset, tile.shape[:2], order=3)
        tile[..., channel] = np.clip(warped + 0.5, 0, 255)
    return tile
