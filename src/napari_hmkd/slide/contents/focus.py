"""Whether a slide is in focus, by how little a further blur changes its fields."""

from __future__ import annotations

import numpy as np
from skimage.measure import blur_effect
from skimage.transform import downscale_local_mean

BLURRED = 0.45
"""Middle of a gap: sharp fields of H&E and IHC, scanned and drawn, have 0.16 to 0.37; H&E under a
Gaussian of 3 um at level 0 has 0.53 and more (0.46 where noise of three grey levels was added to the
blurred scan), of 6 um 0.68 and more. The palest IHC can fall below, to 0.39 with that noise."""

_COARSEST_UM = 2.0
_SMALLEST_PX = 32
_LEAST_CONTRAST = 2.5  # standard deviation in grey levels; the noise of a scanner is below 2


def blurriness(pixels: np.ndarray, um_per_px: float) -> float | None:
    """Blur of a field of tissue.

    Crete et al. (The blur effect, Proc. SPIE 6492, 2007) blur an image once more and measure how
    much of its local differences stays, which depends on neither contrast nor brightness. It is taken
    along the sharper axis, since fibres and single edges show no detail along themselves, and both at
    the field's pixel size and at twice it, of which the blurrier counts, since under a strong blur
    the finer one shows only the noise of the camera.

    Parameters
    ----------
    pixels : uint8 (height, width, 3)
        Mostly tissue.
    um_per_px : float
        Pixel size, about 1 um.

    Returns
    -------
    float or None
        0 (sharp) to 1; None where the field has too little contrast, or pixels too coarse (above
        2 um), to tell.
    """
    grey = pixels.mean(axis=-1)
    if um_per_px > _COARSEST_UM or min(grey.shape) < _SMALLEST_PX or grey.std() < _LEAST_CONTRAST:
        return None
    even = grey[: grey.shape[0] // 2 * 2, : grey.shape[1] // 2 * 2]
    halved = downscale_local_mean(even, (2, 2))
    return max(float(blur_effect(each, reduce_func=np.min)) for each in (grey, halved))
