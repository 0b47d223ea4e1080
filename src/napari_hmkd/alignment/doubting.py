"""Whether an alignment that was given, by a file or by hand, looks as if it were one."""

from __future__ import annotations

import numpy as np

from napari_hmkd.alignment.alignment import Alignment
from napari_hmkd.alignment.automatic import best_placement, refined_fit
from napari_hmkd.alignment.picture import Picture, read_picture
from napari_hmkd.alignment.refining import REACH_UM
from napari_hmkd.errors import AlignmentError
from napari_hmkd.slide import Slide

_MOST_PLACES = 10_000
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
    here, there = _common_tissue(he, ihc, affine)
    apart_um = float(np.median(np.linalg.norm(alignment.to_ihc(here) - there, axis=1)))
    if apart_um <= most_um:
        return None
    return (
        f"'{ihc_slide.name}' does not lie over '{he_slide.name}': the textures of their tissue fit best about "
        f"{apart_um:.0f} um from there. Align it automatically or by landmarks"
    )


def _common_tissue(he: Picture, ihc: Picture, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions all over the tissue that both slides show, and where they lie on the IHC, um, (n, 2) each.

    Beside it maps are guesses: sections are bent, and an IHC may be of a part of the section.
    """
    places = np.argwhere(he.tissue)
    here = (places[:: 1 + len(places) // _MOST_PLACES] + 0.5) * he.mpp
    there = here @ affine[:2, :2].T + affine[:2, 2]
    common = ((there >= ihc.box_um[0]) & (there <= ihc.box_um[1])).all(axis=1)
    return here[common], there[common]
