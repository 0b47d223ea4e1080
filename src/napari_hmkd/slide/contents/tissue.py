"""Where there is tissue, at about 8 um/px: no glass, no haze of spilled stain, no pen, no coverslip."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from napari_hmkd.geometry import Size
from napari_hmkd.slide.contents.density import (
    glass_colour,
    optical_density,
    spread,
    window_mean,
    window_px,
)
from napari_hmkd.slide.contents.morphology import closing
from napari_hmkd.slide.contents.pen import find_pen, keep_large
from napari_hmkd.slide.contents.strips import by_strips
from napari_hmkd.slide.contents.thin import faint_mesh, straight_lines
from napari_hmkd.slide.overview import Overview, read_overview
from napari_hmkd.slide.pyramid import lacks_small_levels
from napari_hmkd.slide.slide import Slide

_LOG = logging.getLogger(__name__)

MASK_MPP = 8.0
"""Micrometres per pixel of the mask, of a slide that is as fine as that and not too large."""
MOST_MASK_PX = 2**22
"""More than that would cost memory and seconds and tell no tile better; at 8 um/px it is 16 x 16 mm."""

_DIGITS = 9  # sums of a large mask are not exact beyond, and what is nothing has to be 0

_UNEVEN = 0.012  # standard deviation of optical density in the window; glass: below 0.005
_DENSE = 0.15  # optical density that needs no texture; haze of spilled stain: below 0.11
_FAINT = 0.02  # texture below this density is the edge of a scanned field
_GAP_UM = 24.0
_LARGEST_HOLE_UM2 = 200.0**2  # fat and small lumina belong to the tissue around them
_SMALLEST_PIECE_UM2 = 150.0**2


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
    edited : bool
        Whether a user painted in it.
    """

    mask: np.ndarray
    mpp: tuple[float, float]
    downsample: tuple[float, float]
    edited: bool = False

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
        table = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1), np.int32)
        sums = table[1:, 1:]  # their linear interpolation is exact
        np.cumsum(np.cumsum(self.mask, axis=1, out=sums), axis=0, out=sums)
        scale = np.array(self.downsample)
        low = np.asarray(origins_yx, float).reshape(-1, 2) / scale
        side = np.asarray(step_yx, float) / scale
        high = low + side
        corners = [(high, high), (low, low), (low, high), (high, low)]
        a, b, c, d = (
            ndimage.map_coordinates(table, (y[:, 0], x[:, 1]), float, order=1, mode="nearest")
            for y, x in corners
        )
        share = (a + b - c - d) / (side[0] * side[1])
        return np.clip(np.round(share, _DIGITS), 0, 1)


def find_tissue(slide: Slide) -> TissueMask:
    """Tissue of a slide, from its optical density over glass and how uneven that is.

    Stained tissue is denser than glass and uneven over a few cells; spilled stain and shadows
    out of focus are smooth. Fat is a mesh too faint for that, and counts where it goes on from tissue.
    Pen is removed by its colour, the edges of a coverslip because they are straight and colourless.

    Raises
    ------
    PixelSizeError
        The slide has no pixel size.
    SlideReadError
        Nothing of the slide can be read.
    """
    return tissue_of(slide, mask_overview(slide))


def mask_overview(slide: Slide) -> Overview:
    """The slide at the pixel size of its tissue mask; it raises what `find_tissue` does.

    That is `MASK_MPP`, or so much more that the mask has `MOST_MASK_PX`. A slide coarser than that is
    not enlarged.
    """
    own_y, own_x = slide.require_mpp()
    if lacks_small_levels(slide):
        _LOG.warning(
            "'%s' has no small levels: its tissue is sought in all of its %d x %d px, which takes minutes",
            slide.name, slide.size.height, slide.size.width,
        )  # fmt: skip
    area_um2 = slide.size.height * own_y * slide.size.width * own_x
    mpp = max(MASK_MPP, math.sqrt(area_um2 / MOST_MASK_PX))
    size = Size(
        max(1, round(slide.size.height * min(1.0, own_y / mpp))),
        max(1, round(slide.size.width * min(1.0, own_x / mpp))),
    )
    return read_overview(slide, size)


def tissue_of(slide: Slide, overview: Overview) -> TissueMask:
    """As `find_tissue`, where the slide was read by `mask_overview` already."""
    own_y, own_x = slide.require_mpp()
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
        Pixel size, about `MASK_MPP` or coarser.

    Returns
    -------
    bool (height, width)
    """
    window = window_px(um_per_px)
    density = optical_density(pixels, glass_colour(pixels, um_per_px))
    grey = by_strips(lambda strip: strip.mean(axis=0), density)
    pen = find_pen(density, um_per_px)
    tissue = by_strips(partial(_thick, window=window), density, grey, halo=window) & ~pen
    if not tissue.any():
        return tissue
    tissue |= faint_mesh(grey, tissue | pen, tissue, um_per_px)
    px_per_um2 = 1 / um_per_px**2
    gap = 2 * round(_GAP_UM / um_per_px) + 1
    tissue = closing(tissue, gap)
    tissue = ~keep_large(~tissue, _LARGEST_HOLE_UM2 * px_per_um2) & ~pen
    tissue &= ~straight_lines(tissue, density, um_per_px)
    piece = min(_SMALLEST_PIECE_UM2 * px_per_um2, 0.05 * tissue.size)
    return keep_large(tissue, piece)


def _thick(density: np.ndarray, grey: np.ndarray, window: int) -> np.ndarray:
    """Bool (height, width), where it is dense, or dense enough and uneven."""
    strongest = density.max(axis=0)
    uneven = spread(grey, window) > _UNEVEN
    return (uneven & (window_mean(strongest, window) > _FAINT)) | (strongest > _DENSE)
