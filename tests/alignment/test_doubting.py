"""An alignment that was given, held against the tissue."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from skimage.transform import AffineTransform
from tests.alignment.sections import GLASS, MPP, SIZE_UM, drawn, move

from napari_hmkd.alignment import align_by_matrix, doubt_alignment
from napari_hmkd.slide import Slide

WriteSlide = Callable[..., Slide]


@pytest.mark.parametrize(("off_um", "scale"), [(0.0, 1.02), (30.0, 1.02), (0.0, 1.1)])
def test_a_good_alignment_and_one_that_each_tile_makes_up_for_are_not_doubted(
    write_slide: WriteSlide, he_slide: Slide, off_um: float, scale: float
) -> None:
    ihc = move(drawn(1).ihc, 93.0, scale, (700.0, 100.0))
    slide = write_slide("ihc.tif", ihc.pixels, MPP)
    affine = ihc.affine + np.array([(0, 0, off_um), (0, 0, 0), (0, 0, 0)])
    assert doubt_alignment(align_by_matrix(he_slide, slide, affine), he_slide, slide) is None


@pytest.mark.parametrize(("off_um", "angle_deg"), [(100.0, 0.0), (0.0, 3.0)])
def test_one_that_is_off_by_more_than_tiles_are_moved_is_told(
    write_slide: WriteSlide, he_slide: Slide, off_um: float, angle_deg: float
) -> None:
    ihc = move(drawn(1).ihc, 93.0, 1.02, (700.0, 100.0))
    slide = write_slide("ihc.tif", ihc.pixels, MPP)
    off = AffineTransform(rotation=np.radians(angle_deg), translation=(off_um, 0))
    middle = AffineTransform(translation=np.divide(SIZE_UM, 2))
    affine = ihc.affine @ middle.params @ off.params @ np.linalg.inv(middle.params)
    doubt = doubt_alignment(align_by_matrix(he_slide, slide, affine), he_slide, slide)
    assert "does not lie over 'he.tif'" in doubt


def test_tissue_that_fits_better_elsewhere_is_told_with_the_distance(
    write_slide: WriteSlide, he_slide: Slide
) -> None:
    ihc = move(drawn(1).ihc, corner_um=(800.0, 600.0))
    slide = write_slide("ihc.tif", ihc.pixels, MPP)
    doubt = doubt_alignment(align_by_matrix(he_slide, slide, np.eye(3)), he_slide, slide)
    assert "does not lie over 'he.tif'" in doubt
    apart_um = float(doubt.split(" um from there")[0].split()[-1])
    assert apart_um == pytest.approx(1000, abs=100)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ("flipped", "looks flipped"),
        ("of another patient", "do not look like the same tissue"),
        ("blank", "no tissue was found"),
    ],
)
def test_what_is_no_ihc_of_this_tissue_is_told_with_why(
    write_slide: WriteSlide, he_slide: Slide, other: str, says: str
) -> None:
    pixels = {
        "flipped": drawn(1).ihc[:, ::-1],
        "of another patient": drawn(2).ihc,
        "blank": np.full_like(drawn(1).ihc, GLASS),
    }[other]
    slide = write_slide("ihc.tif", np.ascontiguousarray(pixels), MPP)
    doubt = doubt_alignment(align_by_matrix(he_slide, slide, np.eye(3)), he_slide, slide)
    assert doubt.startswith("'ihc.tif' does not look like the IHC of 'he.tif'")
    assert says in doubt
