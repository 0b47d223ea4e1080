"""The alignment shifted to where the nuclei about one tile fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_hmkd.alignment import Alignment, align_by_matrix, refine_at
from napari_hmkd.geometry import Size
from napari_hmkd.sample import ProceduralTissue
from napari_hmkd.slide import Slide

MPP = 1.0
SIDE_PX = 700
MIDDLE_PX = (350.0, 350.0)


@pytest.fixture(scope="module")
def fields() -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """H&E and IHC of a field of two patients, uint8 (700, 700, 3)."""
    size = Size(SIDE_PX, SIDE_PX)
    return {
        seed: ProceduralTissue(seed, (3000.0, 3000.0)).render_pair((1200.0, 1200.0), size, MPP)
        for seed in (1, 2)
    }


@pytest.fixture
def he(write_slide: Callable[..., Slide], fields: dict) -> Slide:
    return write_slide("he.tif", fields[1][0], MPP)


@pytest.fixture
def ihc(write_slide: Callable[..., Slide], fields: dict) -> Slide:
    return write_slide("ihc.tif", fields[1][1], MPP)


def shifted(he: Slide, ihc: Slide, off_um: tuple[float, float]) -> Alignment:
    return align_by_matrix(he, ihc, np.column_stack([np.eye(2), off_um]))


@pytest.mark.parametrize("off_um", [(0.0, 0.0), (21.3, -8.6), (-33.0, -30.0), (45.0, 44.0)])
def test_a_shift_within_reach_is_undone_to_a_micrometre(
    he: Slide, ihc: Slide, off_um: tuple[float, float]
) -> None:
    refined = refine_at(shifted(he, ihc, off_um), he, ihc, MIDDLE_PX)
    assert np.allclose(refined.affine, np.eye(3), atol=1)


def test_a_turned_alignment_is_shifted_as_the_ihc_lies(
    he: Slide, write_slide: Callable[..., Slide], fields: dict
) -> None:
    turned = write_slide("turned.tif", np.rot90(fields[1][1]).copy(), MPP)
    truth = np.array([(0.0, -1.0, SIDE_PX * MPP), (1.0, 0.0, 0.0)])
    off = align_by_matrix(he, turned, truth + np.array([(0, 0, 30.0), (0, 0, -12.0)]))
    assert np.allclose(refine_at(off, he, turned, MIDDLE_PX).affine[:2], truth, atol=1)


def test_other_tissue_and_what_is_out_of_reach_leave_the_alignment_as_it_is(
    he: Slide, ihc: Slide, write_slide: Callable[..., Slide], fields: dict
) -> None:
    other = write_slide("other.tif", fields[2][1], MPP)
    glass = write_slide("glass.tif", np.full((SIDE_PX, SIDE_PX, 3), 243, np.uint8), MPP)
    for slide, off_um in ((other, (0.0, 0.0)), (glass, (0.0, 0.0)), (ihc, (80.0, 0.0))):
        alignment = shifted(he, slide, off_um)
        assert refine_at(alignment, he, slide, MIDDLE_PX) is alignment


def test_the_border_of_the_slides_is_no_tissue(
    write_slide: Callable[..., Slide], fields: dict
) -> None:
    he = write_slide("he.tif", fields[1][0][100:500, 100:500], MPP)
    other = write_slide("other.tif", fields[2][1][100:500, 100:500], MPP)
    alignment = shifted(he, other, (0.0, 0.0))
    for center_px in ((200.0, 200.0), (60.0, 200.0), (390.0, 10.0)):
        assert refine_at(alignment, he, other, center_px) is alignment
