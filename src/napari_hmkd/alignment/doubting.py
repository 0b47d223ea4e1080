"""Whether an alignment that was given, by a file or by hand, looks as if it were one."""

from __future__ import annotations

from itertools import product

import numpy as np

from napari_hmkd.alignment.alignment import Alignment
from napari_hmkd.alignment.automatic import best_placement, refined_fit
from napari_hmkd.alignment.picture import read_picture
from napari_hmkd.alignment.refining import REACH_UM
from napari_hmkd.errors import AlignmentError
from napari_hmkd.slide import Slide

_ELSEWHERE = 0.05  # of the tissue's extent, where its parts do not tell: the steps of the angle are off by 0.03


def doubt_alignment(alignment: Alignment, he_slide: Slide, ihc_slide: Slide) -> str | None:
    """What speaks against an alignment, by the texture of all tissue at low resolution.

    Returns
    -------
    str or None
        That the tissue is flipped, unrelated or missing, or fits better elsewhere, with numbers; None
        where nothing speaks against it. Parts of the tissue may be off all the same.

    Raises
    ------
    PixelSizeError
        A slide's pixel size is unknown.
    SlideReadError
        Nothing of a slide can be read, or it does not answer.
    """
    try:
        he, ihc = read_picture(he_slide), read_picture(ihc_slide)
        best, _ = best_placement(he, ihc)
    except AlignmentError as error:
        return f"'{ihc_slide.name}' does not look like the IHC of '{he_slide.name}': {error}"
    fit = refined_fit(he, ihc, best)
    affine, most_um = (
        (fit.affine, REACH_UM) if fit.holds else (best.affine, _ELSEWHERE * he.extent_um)
    )
    corners = np.array(list(product(*he.box_um.T)))
    there = corners @ affine[:2, :2].T + affine[:2, 2]
    apart_um = float(np.median(np.linalg.norm(alignment.to_ihc(corners) - there, axis=1)))
    if apart_um <= most_um:
        return None
    return (
        f"'{ihc_slide.name}' does not lie over '{he_slide.name}': the textures of their tissue fit best about "
        f"{apart_um:.0f} um from there. Align it automatically or by landmarks"
    )
