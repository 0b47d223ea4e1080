"""Alignment without landmarks: placed by all of the tissue, refined by its parts, judged by what chance does."""

from __future__ import annotations

from napari_hmkd.alignment.alignment import Alignment, Method, align_by_matrix
from napari_hmkd.alignment.matching import Fit, fit_parts
from napari_hmkd.alignment.picture import Picture, read_picture
from napari_hmkd.alignment.placing import Placement, margin, placements, placing_mpp
from napari_hmkd.errors import AlignmentError
from napari_hmkd.slide import Slide
from napari_hmkd.slide.fingerprint import fingerprint

LEAST_SCORE = 1.5
"""How many times better a placement must be than what chance gives. Of drawn sections 2.3 to 6.3 were measured,
of neighbouring scanned ones 1.9, and of sections of different patients 1.25 at most."""


def align_automatically(he_slide: Slide, ihc_slide: Slide) -> Alignment:
    """Lay the IHC of a section, or of the next one, over its H&E.

    The texture of the tissue is compared at all angles, and mirrored, at low resolution; then parts of
    it at ever higher ones, to 8 um/px, for as long as most of them agree on an affine map.

    Raises
    ------
    AlignmentError
        The tissue is flipped, unrelated, or missing; the message has the numbers.
    PixelSizeError
        A slide's pixel size is unknown.
    SlideReadError
        Nothing of a slide can be read, it does not answer, or it has no fingerprint.
    """
    for slide in (he_slide, ihc_slide):  # one that has none is refused before the search, not after
        fingerprint(slide)
    he, ihc = read_picture(he_slide), read_picture(ihc_slide)
    asked = f"asked to align '{ihc_slide.name}' to '{he_slide.name}', but "
    try:
        best, score = best_placement(he, ihc)
    except AlignmentError as error:
        raise AlignmentError(f"{asked}{error}") from error
    fit = refined_fit(he, ihc, best)
    if not fit.holds:
        raise AlignmentError(
            f"{asked}only {fit.agreeing} of {fit.parts} parts of the tissue agree on one map: choose the IHC of "
            "this section, or align by landmarks"
        )
    return align_by_matrix(
        he_slide, ihc_slide, fit.affine, Method.AUTOMATIC, fit.residual_um, score
    )


def best_placement(he: Picture, ihc: Picture) -> tuple[Placement, float]:
    """Where all of the tissue fits best, and how many times better than by chance.

    Raises
    ------
    AlignmentError
        It does not fit much better than by chance; the message goes on from "but".
    """
    upright, mirrored = placements(he, ihc, mirrored=False), placements(he, ihc, mirrored=True)
    score = margin(upright[0], upright, mirrored)
    if score < LEAST_SCORE:
        raise AlignmentError(_why_not(upright, mirrored))
    return upright[0], score


def refined_fit(he: Picture, ihc: Picture, placement: Placement) -> Fit:
    """The fit of a placement's parts at the finest pixel size at which one holds, or the first that does not."""
    finest = float(max(he.mpp.max(), ihc.mpp.max()))
    mpp = max(placing_mpp(he, ihc) / 2, finest)
    fit = fit_parts(he, ihc, placement.affine, mpp)
    while fit.holds and mpp > finest:
        mpp = max(mpp / 2, finest)
        finer = fit_parts(he, ihc, fit.affine, mpp)
        if not finer.holds:  # cells of the next section are others, and it is bent in another way
            break
        fit = finer
    return fit


def _why_not(upright: list[Placement], mirrored: list[Placement]) -> str:
    best, flipped = upright[0], mirrored[0]
    scores = (
        f"the textures of their tissue correlate with {best.score:.2f} at best, and mirrored with "
        f"{flipped.score:.2f}"
    )
    if (times := margin(flipped, mirrored, upright)) >= LEAST_SCORE:
        return (
            f"it looks flipped: {scores}, which is {times:.1f} times what else they reach. The section lies the "
            "other way round: mirror the scan"
        )
    return (
        f"they do not look like the same tissue: {scores}; the best is {margin(best, upright, mirrored):.2f} "
        f"times what else they reach, and {LEAST_SCORE:g} is the least. Choose the IHC of this section, look at "
        "both pixel sizes, or align by landmarks"
    )
