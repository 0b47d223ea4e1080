"""Optical density over a slide's empty glass, the measure that stains add up in."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from scipy import ndimage

from napari_hmkd.slide.contents.strips import by_strips

_WINDOW_UM = 40.0
_GLASS_RGB = (243.0, 243.0, 243.0)  # where a field shows none
_GLASS_MIN = 140  # of every channel; some scanners show glass at 170
_GLASS_SAMPLE = 50_000  # pixels, as many as a median needs
_GLASS_SEARCH = 1_000_000  # pixels; of more, every second row and column, every third and so on


def optical_density(pixels: np.ndarray, glass: np.ndarray) -> np.ndarray:
    """Optical density over glass, log10.

    Parameters
    ----------
    pixels : uint8 (height, width, 3)
    glass : float (3,)
        Colour of empty glass, 0 to 255.

    Returns
    -------
    float32 (3, height, width), 0 where brighter than glass.
    """
    glass = np.asarray(glass, np.float32)[:, None]
    of_value = np.log10((glass + 1) / (np.minimum(np.arange(256, dtype=np.float32), glass) + 1))
    # What the scanner left out is filled with pure white, as bright as any glass: its border is no edge.
    channels = np.moveaxis(pixels, -1, 0)
    return by_strips(lambda strip: np.stack([*map(np.take, of_value, strip)]), channels)


def glass_colour(pixels: np.ndarray, um_per_px: float) -> np.ndarray:
    """Colour of empty glass: the median of what is bright and smooth.

    Parameters
    ----------
    pixels : uint8 (height, width, 3)
        An overview of a slide.
    um_per_px : float
        Its pixel size.

    Returns
    -------
    float32 (3,), 0 to 255; a usual colour where hardly any glass is to be seen.
    """
    every = max(1, math.isqrt(pixels.shape[0] * pixels.shape[1] // _GLASS_SEARCH))
    colour = channels_first(pixels[::every, ::every]).astype(np.float32)
    unscanned = colour.min(axis=0) == 255
    smooth = spread(colour.mean(axis=0), window_px(every * um_per_px)) < 2.0
    empty = smooth & (colour.min(axis=0) >= _GLASS_MIN)
    if (empty & ~unscanned).any():
        empty &= ~unscanned
    if np.count_nonzero(empty) < 0.005 * empty.size:
        # Pale tissue from edge to edge is paler than a usual glass: at least as bright as it, then.
        brightest = np.percentile(colour[:, ~unscanned], 99, axis=1) if (~unscanned).any() else 0
        return np.maximum(brightest, _GLASS_RGB).astype(np.float32)
    found = np.flatnonzero(empty)
    sample = found[:: max(1, len(found) // _GLASS_SAMPLE)]
    return np.median(colour.reshape(3, -1)[:, sample], axis=1)


def channels_first(pixels: np.ndarray) -> np.ndarray:
    """A copy (3, height, width): numpy reduces over a leading axis of three far faster."""
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def window_px(um_per_px: float) -> int:
    """Side of the window that texture is measured in: a few cells, over which glass is even."""
    return max(3, round(_WINDOW_UM / um_per_px))


def window_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean in a square window of so many pixels, as `scipy.ndimage.uniform_filter` has it."""
    return by_strips(partial(ndimage.uniform_filter, size=window), values, halo=window)


def spread(values: np.ndarray, window: int) -> np.ndarray:
    """Standard deviation in a square window."""
    mean, square = window_mean(values, window), window_mean(values * values, window)
    return np.sqrt(np.maximum(square - mean * mean, 0))
