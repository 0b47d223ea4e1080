"""An alignment that was given, held against the tissue."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from skimage.transform import AffineTransform
from tests.alignment.sections import GLASS, MPP, SIZE_UM, drawn, move

from napari_hmkd.alignment import align_by_matrix, doubt_alignment
from napari_hmkd.alignment.refining import REACH_UM
from napari_hmkd.slide import Slide

WriteSlide = Callable[..., Slide]
MIDDLE_UM = (SIZE_UM[0] / 2, SIZE_UM[1] / 2)


@pytest.mark.slow
@pytest.mark.parametrize(("off_um", "scale"), [(0.0, 1.02), (30.0, 1.02), (0.0, 1.1)])
def test_a_good_alignment_and_one_that_each_tile_makes_up_for_are_not_doubted(
    write_slide: WriteSlide, he_slide: Slide, off_um: float, scale: float
) -> None:
    ihc = move(drawn(1).ihc, 93.0, scale, (700.0, 100.0))
    slide = write_slide("ihc.tif", ihc.pixels, MPP)
    affine = ihc.affine + np.array([(0, 0, off_um), (0, 0, 0), (0, 0, 0)])
    assert doubt_alignment(align_by_matrix(he_slide, slide, affine), he_slide, slide) is None


def off(
    angle_deg: float, off_um: float = 0.0, middle_um: tuple[float, float] = MIDDLE_UM
) -> np.ndarray:
    """What is wrong with a map that is turned about a place of the H&E, and moved, (3, 3)."""
    middle = AffineTransform(translation=middle_um).params
    wrong = AffineTransform(rotation=np.radians(angle_deg), translation=(off_um, 0)).params
    return middle @ wrong @ np.linalg.inv(middle)


@pytest.mark.parametrize(("off_um", "angle_deg"), [(100.0, 0.0), (0.0, 4.0)])
def test_one_that_is_off_by_more_than_tiles_are_moved_is_told(
    write_slide: WriteSlide, he_slide: Slide, off_um: float, angle_deg: float
) -> None:
    ihc = move(drawn(1).ihc, 93.0, 1.02, (700.0, 100.0))
    slide = write_slide("ihc.tif", ihc.pixels, MPP)
    affine = ihc.affine @ off(angle_deg, off_um)
    doubt = doubt_alignment(align_by_matrix(he_slide, slide, affine), he_slide, slide)
    assert "does not lie over 'he.tif'" in doubt


def test_what_is_off_beside_the_tissue_alone_is_not_doubted(
    write_slide: WriteSlide, he_slide: Slide
) -> None:
    slide = write_slide("ihc.tif", drawn(1).ihc, MPP)
    alignment = align_by_matrix(he_slide, slide, off(2.0))
    corner_um = np.array((200.0, 200.0))
    assert np.linalg.norm(alignment.to_ihc(corner_um) - corner_um) > REACH_UM
    assert doubt_alignment(alignment, he_slide, slide) is None


def test_of_an_ihc_of_a_part_of_the_section_the_rest_does_not_count(
    write_slide: WriteSlide, he_slide: Slide
) -> None:
    half = write_slide("ihc.tif", drawn(1).ihc[:, :450], MPP)
    alignment = align_by_matrix(he_slide, half, off(3.0, middle_um=(1500.0, 900.0)))
    assert doubt_alignment(alignment, he_slide, half) is None


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
