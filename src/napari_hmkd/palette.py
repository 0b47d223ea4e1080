"""Colours of the grades and hatching of undecided tiles, the same on screen and in pictures."""

from __future__ import annotations

import numpy as np
from PIL import ImageColor

# Blue to red through light tones: told apart with every colour blindness (ColorBrewer, RdYlBu),
# and unlike the pink and purple of H&E.
GRADE_COLOURS = ("#2c7bb6", "#abd9e9", "#fdae61", "#d7191c")
_RGB = np.array([ImageColor.getrgb(colour) for colour in GRADE_COLOURS]) / 255

HATCH = (np.add.outer(range(8), range(8)) == 7).astype(np.uint8)
"""Hatching, to be repeated along both axes: uint8 (8, 8), 1 on its line from lower left to upper right."""


def colourise(grade: np.ndarray) -> np.ndarray:
    """Colours of expected grades (...), in [0, 3]: float64 (..., 4), RGBA in [0, 1].

    Between two grades the colours are mixed; NaN is transparent.
    """
    known = ~np.isnan(grade)
    channels = [np.interp(grade, range(len(_RGB)), channel) for channel in _RGB.T]
    return np.where(known[..., None], np.stack([*channels, known], axis=-1), 0.0)
