"""How far a piece of texture has moved, to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
from skimage.feature import match_template


def find_shift(piece: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find a piece in a larger one by normalised cross-correlation.

    Parameters
    ----------
    piece : numpy.ndarray
        float (height, width).
    around : numpy.ndarray
        The same place and as many pixels about it on each side as the piece may have moved.

    Returns
    -------
    shift_px : numpy.ndarray
        Rows and columns from the middle, float64 (2,); NaN where the best is on the border, beyond which
        there may be a better one.
    fits : numpy.ndarray
        Correlation, -1 to 1, of every whole shift.
    """
    fits = match_template(around, piece)
    y, x = np.unravel_index(fits.argmax(), fits.shape)
    if not (0 < y < fits.shape[0] - 1 and 0 < x < fits.shape[1] - 1):
        return np.full(2, np.nan), fits
    # The top of a parabola through the peak and its neighbours, on each axis.
    before = np.array([fits[y - 1, x], fits[y, x - 1]])
    after = np.array([fits[y + 1, x], fits[y, x + 1]])
    bend = np.minimum(before + after - 2 * fits[y, x], -1e-9)
    middle = np.array(fits.shape) // 2
    return np.array([y, x]) - middle + (before - after) / (2 * bend), fits
