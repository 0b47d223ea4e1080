"""Where there is tissue, at about 8 um/px: no glass, no haze of spilled stain, no pen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.morphology import isotropic_closing

from napari_hmkd.geometry import Size
from napari_hmkd.slide.overview import read_overview
from napari_hmkd.slide.pen import find_pen, keep_large
from napari_hmkd.slide.slide import Slide

MASK_MPP = 8.0

_WINDOW_UM = 40.0  # a few cells: the reach over which tissue is uneven and glass is not
_UNEVEN = 0.012  # standard deviation of optical density in the window; glass: below 0.005
_DENSE = 0.15  # optical density that needs no texture; haze of spilled stain: below 0.11
_FAINT = 0.02  # texture below this density is the edge of a scanned field
_GAP_UM = 24.0
_LARGEST_HOLE_UM2 = 200.0**2  # fat and small lumina belong to the tissue around them
_SMALLEST_PIECE_UM2 = 150.0**2
_GLASS_RGB = (243.0, 243.0, 243.0)  # where a field shows none
_GLASS_MIN = 140  # of every channel; some scanners show glass at 170


@dataclass(frozen=True, eq=False)
class TissueMask:
    """Tissue of a whole slide.

    Attributes
    ----------
    mask : bool (height, width)
        True on tissue, and where the slide could not be read: what is there is not known, and
        grading finds out and says so.
    mpp : tuple of float
        Micrometres per pixel of the mask (y, x).
    downsample : tuple of float
        Level-0 pixels per pixel of the mask (y, x).
    """

    mask: np.ndarray
    mpp: tuple[float, float]
    downsample: tuple[float, float]

    def fraction(self, origins_yx: np.ndarray, step_yx: tuple[float, float]) -> np.ndarray:
        """Share of tissue in tiles, exact to fractions of a mask pixel.

        Parameters
        ----------
        origins_yx : (n, 2)
            Top left corners in level-0 pixels.
        step_yx : (y, x)
            Height and width of every tile in level-0 pixels.

        Returns
        -------
        float (n,), 0 to 1. What lies outside the slide counts as no tissue.
        """
        table = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1))
        table[1:, 1:] = self.mask.cumsum(0).cumsum(1)  # its linear interpolation is exact
        scale = np.array(self.downsample)
        low = np.asarray(origins_yx, float).reshape(-1, 2) / scale
        side = np.asarray(step_yx, float) / scale
        high = low + side
        corners = [(high, high), (low, low), (low, high), (high, low)]
        a, b, c, d = (
            ndimage.map_coordinates(table, (y[:, 0], x[:, 1]), order=1, mode="nearest")
            for y, x in corners
        )
        return np.clip((a + b - c - d) / (side[0] * side[1]), 0, 1)


def find_tissue(slide: Slide) -> TissueMask:
    """Tissue of a slide, from its optical density over glass and how uneven that is.

    Stained tissue is denser than glass and uneven over a few cells; spilled stain and shadows
    out of focus are smooth. Pen is removed by its colour.

    Raises
    ------
    PixelSizeError
        The slide has no pixel size.
    SlideReadError
        Nothing of the slide can be read.
    """
    own_y, own_x = slide.require_mpp()
    size = Size(
        max(1, round(slide.size.height * own_y / MASK_MPP)),
        max(1, round(slide.size.width * own_x / MASK_MPP)),
    )
    overview = read_overview(slide, size)
    step_y, step_x = overview.downsample
    mpp = (own_y * step_y, own_x * step_x)
    damaged = ~overview.readable[..., None]
    pixels = np.where(damaged, np.uint8(255), overview.pixels)  # an edge there would be no texture
    mask = tissue_in(pixels, math.sqrt(mpp[0] * mpp[1]))
    return TissueMask(mask | damaged[..., 0], mpp, overview.downsample)


def tissue_in(pixels: np.ndarray, um_per_px: float) -> np.ndarray:
    """Tissue in an overview.

    Parameters
    ----------
    pixels : uint8 (height, width, 3)
        The whole slide or a part of it.
    um_per_px : float
        Pixel size, about `MASK_MPP`.

    Returns
    -------
    bool (height, width)
    """
    window = max(3, round(_WINDOW_UM / um_per_px))
    density = _density(pixels, window)
    strongest = density.max(axis=0)
    mean = ndimage.uniform_filter(strongest, window)
    uneven = _spread(density.mean(axis=0), window) > _UNEVEN
    pen = find_pen(density, um_per_px)
    tissue = ((uneven & (mean > _FAINT)) | (strongest > _DENSE)) & ~pen
    if not tissue.any():
        return tissue
    px_per_um2 = 1 / um_per_px**2
    tissue = isotropic_closing(tissue, _GAP_UM / um_per_px)
    tissue = ~keep_large(~tissue, _LARGEST_HOLE_UM2 * px_per_um2) & ~pen
    piece = min(_SMALLEST_PIECE_UM2 * px_per_um2, 0.05 * tissue.size)
    return keep_large(tissue, piece)


def _density(pixels: np.ndarray, window: int) -> np.ndarray:
    """Optical density over glass, log10: float32 (3, height, width), 0 where brighter than it."""
    # Colours first: numpy reduces over a leading axis of three far faster than over a last one.
    colour = np.ascontiguousarray(np.moveaxis(pixels, -1, 0)).astype(np.float32)
    unscanned = colour.min(axis=0) == 255
    glass = _glass(colour, unscanned, window)[:, None, None]
    density = np.log10((glass + 1) / (np.minimum(colour, glass) + 1))
    # What the scanner left out is filled with pure white: its border is no edge of anything.
    density[:, unscanned] = 0
    return density


def _glass(colour: np.ndarray, unscanned: np.ndarray, window: int) -> np.ndarray:
    """Colour of empty glass, float32 (3,): the median of what is bright and smooth."""
    smooth = _spread(colour.mean(axis=0), window) < 2.0
    empty = smooth & (colour.min(axis=0) >= _GLASS_MIN)
    if (empty & ~unscanned).any():
        empty &= ~unscanned
    if np.count_nonzero(empty) < 0.005 * empty.size:
        return np.array(_GLASS_RGB, np.float32)
    return np.median(colour[:, empty], axis=1)


def _spread(values: np.ndarray, window: int) -> np.ndarray:
    """Standard deviation in a square window."""
    mean = ndimage.uniform_filter(values, window)
    square = ndimage.uniform_filter(values * values, window)
    return np.sqrt(np.maximum(square - mean * mean, 0))
