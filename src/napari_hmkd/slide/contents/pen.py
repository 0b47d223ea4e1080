"""Marker pen on the glass, told from stained tissue by the ratios of its optical densities.

The stains absorb in fixed proportions: haematoxylin red and green alike and blue half as much,
eosin green most and red least, DAB blue most and red a third of it. Inks leave these bounds at
any strength. Limits were set on H&E and IHC slides with and without marks.
"""

from __future__ import annotations

import numpy as np
from skimage.measure import label

from napari_hmkd.slide.contents.morphology import within
from napari_hmkd.slide.contents.strips import by_strips

_INK_DENSITY = 0.15  # below it the ratios are noise
_FAINT_DENSITY = 0.04
_SMALLEST_MARK_UM2 = 40.0**2  # less is dye on a tissue's margin, or a speck
_REACH_UM = 200.0
_RIM_UM = 24.0


def find_pen(density: np.ndarray, um_per_px: float) -> np.ndarray:
    """Pixels under blue, green, red or black marker pen.

    Parameters
    ----------
    density : float (3, height, width)
        Optical density over glass, log10, of red, green and blue.
    um_per_px : float
        Pixel size of `density`.

    Returns
    -------
    bool (height, width), with the blurred rim of each mark.
    """
    inked, faint, mixed = by_strips(_inks, density)
    sure = keep_large(inked, _SMALLEST_MARK_UM2 / um_per_px**2)
    if not sure.any():
        return sure
    likely = sure | (faint & within(sure, _REACH_UM / um_per_px)) | mixed
    return within(touching(likely, sure), _RIM_UM / um_per_px)


def _inks(density: np.ndarray) -> np.ndarray:
    """Bool (3, height, width): ink for sure, and what near it is its faint edge, or a dark mixture of inks."""
    red, green, blue = density
    strongest = density.max(axis=0)
    mean = density.mean(axis=0)
    reddish = (blue > 0.74 * green) & (blue < 1.1 * green)  # eosin: 0.5 to 0.7, DAB: 1.2 and more
    green_pen = green < 0.65 * red
    blue_pen = blue < 0.3 * strongest
    scarlet = reddish & (red < 0.3 * strongest)
    crimson = (blue > 0.5 * green) & (red < 0.1 * strongest)
    red_pen = (scarlet | crimson) & (strongest > 0.35)
    black_pen = (density.min(axis=0) > 0.74 * strongest) & (mean > 0.5)
    inked = green_pen | blue_pen | red_pen | black_pen
    faint = (inked | reddish) & (strongest > _FAINT_DENSITY)
    return np.stack([inked & (strongest > _INK_DENSITY), faint, reddish & (mean > 0.45)])


def keep_large(mask: np.ndarray, area_px: float) -> np.ndarray:
    """The connected parts (8 neighbours) of a mask that have at least `area_px` pixels."""
    parts = label(mask, connectivity=2)[mask]
    large = np.bincount(parts) >= area_px
    kept = mask.copy()
    kept[mask] = large[parts]
    return kept


def touching(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that hold a seed."""
    parts = label(mask, connectivity=2)
    seeded = np.zeros(parts.max() + 1, bool)
    seeded[parts[seeds]] = True
    seeded[0] = False
    return np.take(seeded, parts)
