"""An alignment moved to where the tissue about one tile fits best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from napari_hmkd.alignment.alignment import Alignment
from napari_hmkd.alignment.automatic import LEAST_SCORE
from napari_hmkd.alignment.picture import RED, texture_of
from napari_hmkd.alignment.reading import read_ihc_tile
from napari_hmkd.alignment.shifting import find_shift
from napari_hmkd.geometry import Size
from napari_hmkd.slide import Slide

REACH_UM = 50.0
_MPP = 1.0
_FIELD_UM = 512.0
_NUCLEUS_UM = 12.0  # with the gap to the next: what the textures have in common, and how sharply


def refine_at(
    alignment: Alignment, he_slide: Slide, ihc_slide: Slide, center_px: tuple[float, float]
) -> Alignment:
    """Shift an alignment by up to 50 um to where the nuclei about a tile fit, for that tile alone.

    Sections are bent by more than an affine map says. The shift is taken only if it fits 1.5 times better
    than all that are farther than 12 um from it, which the unshifted one may be among.

    Parameters
    ----------
    alignment : Alignment
    he_slide, ihc_slide : Slide
    center_px : (y, x)
        Middle of the tile in level-0 pixels of the H&E.

    Returns
    -------
    Alignment
        The same object where no shift is clearly best.

    Raises
    ------
    SlideReadError
        A slide is damaged there, or does not answer.
    PixelSizeError
        A slide's pixel size is unknown.
    """
    he_mpp = he_slide.require_mpp()
    mpp = max(_MPP, *he_mpp, *ihc_slide.require_mpp())
    side, reach = round(_FIELD_UM / mpp), round(REACH_UM / mpp)

    def corner(length: int) -> tuple[float, float]:
        y, x = (c - length / 2 * mpp / own for c, own in zip(center_px, he_mpp, strict=True))
        return y, x

    he = he_slide.read(corner(side), Size(side, side), mpp)
    wide = side + 2 * reach
    ihc = read_ihc_tile(ihc_slide, alignment, corner(wide), he_mpp, wide, mpp)
    shift_px, fits = find_shift(_texture(he, mpp), _texture(ihc, mpp))
    rows, columns = np.indices(fits.shape) - reach
    # Nowhere, where the best lies out of reach and the shift is NaN.
    far = np.hypot(rows - shift_px[0], columns - shift_px[1]) * mpp > _NUCLEUS_UM
    if not far.any() or fits.max() <= LEAST_SCORE * max(fits[far].max(), 0):
        return alignment
    move = np.eye(3)
    move[:2, 2] = shift_px * mpp
    return replace(alignment, affine=alignment.affine @ move)


def _texture(pixels: np.ndarray, mpp: float) -> np.ndarray:
    density = -np.log10(pixels[..., RED] + 1.0)  # over glass of any colour
    # The slide's border, whose pixels are partly of the white beyond, is no texture.
    outside = ndimage.binary_dilation(pixels.min(axis=-1) == 255, iterations=2)
    inside = (~outside).astype(np.float32)
    return texture_of(density * inside, inside, max(3, round(_NUCLEUS_UM / mpp)))
