"""Morphology with flat squares and discs, as SciPy and scikit-image have it and several times faster.

They go through the pixels one by one, or measure every distance; here whole arrays are compared with
themselves, shifted. What lies beyond the border counts for nothing.
"""

from __future__ import annotations

import math

import numpy as np

from napari_hmkd.slide.contents.strips import by_strips


def dilation(values: np.ndarray, side: int) -> np.ndarray:
    """Greatest value in the square around each pixel.

    Parameters
    ----------
    values : (height, width), of any type that has an order
    side : int
        Of the square, px; where it is even, the square reaches half a pixel down and right.

    Returns
    -------
    (height, width), of the same type.
    """
    return _over_square(np.maximum, values, (side - 1) // 2, side // 2)


def erosion(values: np.ndarray, side: int) -> np.ndarray:
    """Least value in the square around each pixel; an even square reaches half a pixel up and left."""
    return _over_square(np.minimum, values, side // 2, (side - 1) // 2)


def opening(values: np.ndarray, side: int) -> np.ndarray:
    """Without what is higher than its surroundings and narrower than the square."""
    return by_strips(lambda strip: dilation(erosion(strip, side), side), values, halo=2 * side)


def closing(values: np.ndarray, side: int) -> np.ndarray:
    """Without what is lower than its surroundings and narrower than the square."""
    return by_strips(lambda strip: erosion(dilation(strip, side), side), values, halo=2 * side)


def within(mask: np.ndarray, distance_px: float) -> np.ndarray:
    """Pixels whose centre is at most so far from that of a pixel of the mask: bool (height, width)."""
    rows, columns = mask.shape
    near, chord, half = np.zeros_like(mask), mask.copy(), 0
    for step in range(math.floor(distance_px), -1, -1):
        while math.hypot(step, half + 1) <= distance_px:
            half += 1
            inside = max(0, columns - half)
            chord[:, half:] |= mask[:, :inside]
            chord[:, :inside] |= mask[:, half:]
        inside = max(0, rows - step)
        near[step:] |= chord[:inside]
        near[:inside] |= chord[step:]
    return near


def _over_square(take: np.ufunc, values: np.ndarray, before: int, after: int) -> np.ndarray:
    """Greatest or least value from so many pixels before each to so many after it, on both axes."""
    result = values.copy()
    for lines in (result, result.T):
        for ordered, reach in ((lines, before), (lines[::-1], after)):
            covered = 1
            while covered <= reach:  # twice as many with each step
                step = min(covered, reach + 1 - covered)
                take(ordered[step:], ordered[:-step], out=ordered[step:])
                covered += step
    return result
