"""The IHC found on the H&E without landmarks, and slides that do not belong together refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from unittest.mock import Mock

import numpy as np
import pytest
from tests.alignment.sections import GLASS, MPP, drawn, move, tissue_um

from napari_hmkd.alignment import Method, align_automatically, automatic
from napari_hmkd.errors import AlignmentError, PixelSizeError, SlideReadError
from napari_hmkd.slide import Slide

WriteSlide = Callable[..., Slide]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("angle_deg", "scale", "corner_um", "mpp"),
    [
        (0.0, 1.0, (2000.0, 1300.0), 4.0),
        (7.0, 1.03, (0.0, 500.0), 2.9),
        (93.0, 0.97, (150.0, 2000.0), 3.7),
        (180.0, 1.01, (700.0, 0.0), 5.0),
        (326.0, 0.99, (10.0, 20.0), 4.4),
    ],
)
def test_tissue_is_found_to_within_10_um_however_the_ihc_lies(
    write_slide: WriteSlide,
    seed: int,
    angle_deg: float,
    scale: float,
    corner_um: tuple[float, float],
    mpp: float,
) -> None:
    he = write_slide("he.tif", drawn(seed).he, MPP)
    ihc = move(drawn(seed).ihc, angle_deg, scale, corner_um, mpp)
    found = align_automatically(he, write_slide("ihc.tif", ihc.pixels, mpp))
    places = tissue_um(he)
    truth = places @ ihc.affine[:2, :2].T + ihc.affine[:2, 2]
    error_um = np.linalg.norm(found.to_ihc(places) - truth, axis=1)
    assert np.median(error_um) < 3
    assert np.percentile(error_um, 95) < 10
    assert found.method == Method.AUTOMATIC
    assert found.residual_um < 5
    assert found.score > 2


def test_a_part_of_the_tissue_and_a_narrow_core_are_enough(write_slide: WriteSlide) -> None:
    rows, columns = np.indices(drawn(1).he.shape[:2])
    for name, keep in (("core", abs(rows - 375) < 70), ("left", columns < 450)):
        he = np.where((name == "left") | keep[..., None], drawn(1).he, GLASS).astype(np.uint8)
        ihc = move(np.where(keep[..., None], drawn(1).ihc, GLASS).astype(np.uint8), 130.0)
        slides = write_slide(f"{name} he.tif", he, MPP), write_slide(f"{name}.tif", ihc.pixels, MPP)
        found = align_automatically(*slides)
        places = np.argwhere(keep & (drawn(1).he[..., 1] < 200))[::50] * MPP
        truth = places @ ihc.affine[:2, :2].T + ihc.affine[:2, 2]
        assert np.median(np.linalg.norm(found.to_ihc(places) - truth, axis=1)) < 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_ihc_of_a_part_of_the_section_is_found_and_only_that(
    write_slide: WriteSlide, seed: int
) -> None:
    he = write_slide("he.tif", drawn(seed).he, MPP)
    top_left, part = np.array((200, 250)), np.s_[200:560, 250:650]

    def ihc_of(seed: int, mirrored: bool = False) -> Slide:
        pixels = np.ascontiguousarray(drawn(seed).ihc[part][:, :: -1 if mirrored else 1])
        return write_slide(f"{seed} {mirrored}.tif", pixels, MPP)

    ihc = ihc_of(seed)
    found = align_automatically(he, ihc)
    places = tissue_um(ihc)
    error_um = np.linalg.norm(found.to_ihc(places + top_left * MPP) - places, axis=1)
    assert np.percentile(error_um, 95) < 10
    for other in (ihc_of(seed % 3 + 1), ihc_of(seed, mirrored=True)):
        with pytest.raises(AlignmentError, match=r"do not look like the same|looks flipped"):
            align_automatically(he, other)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_flipped_section_is_named_as_such_with_numbers(
    write_slide: WriteSlide, seed: int
) -> None:
    he = write_slide("he.tif", drawn(seed).he, MPP)
    ihc = write_slide("ihc.tif", move(drawn(seed).ihc, 40.0, mirrored=True).pixels, MPP)
    with pytest.raises(
        AlignmentError, match=r"looks flipped: .* mirrored with 0\.\d\d.*mirror the"
    ):
        align_automatically(he, ihc)


@pytest.mark.parametrize(("of_he", "of_ihc"), [(1, 2), (2, 3), (3, 1), (2, 1), (3, 2), (1, 3)])
def test_sections_of_different_patients_are_refused_with_numbers(
    write_slide: WriteSlide, of_he: int, of_ihc: int
) -> None:
    he = write_slide("he.tif", drawn(of_he).he, MPP)
    ihc = write_slide("ihc.tif", move(drawn(of_ihc).ihc, 20.0).pixels, MPP)
    with pytest.raises(
        AlignmentError, match=r"do not look like the same tissue: .*1\.5 is the least"
    ):
        align_automatically(he, ihc)


def test_a_pixel_size_that_is_stated_twice_too_large_is_refused(
    write_slide: WriteSlide, he_slide: Slide
) -> None:
    ihc = write_slide("ihc.tif", drawn(1).ihc, 2 * MPP)
    with pytest.raises(AlignmentError, match="look at both pixel sizes"):
        align_automatically(he_slide, ihc)


def test_a_slide_whose_file_is_another_by_now_is_refused_before_the_search(
    he_slide: Slide, ihc_slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Mock()
    monkeypatch.setattr(automatic, "read_picture", search)
    os.utime(ihc_slide.path, (0, 0))
    with pytest.raises(SlideReadError, match=r"ihc\.tif' was replaced, written to or touched"):
        align_automatically(he_slide, ihc_slide)
    assert not search.called


def test_blank_glass_is_refused(write_slide: WriteSlide, he_slide: Slide) -> None:
    blank = write_slide("blank.tif", np.full((600, 600, 3), GLASS, np.uint8), MPP)
    with pytest.raises(AlignmentError, match=r"'blank\.tif', but no tissue was found"):
        align_automatically(he_slide, blank)


def test_a_slide_without_a_pixel_size_is_refused_with_what_to_do(
    write_slide: WriteSlide, he_slide: Slide
) -> None:
    unknown = write_slide("ihc.tif", drawn(1).ihc, None)
    with pytest.raises(PixelSizeError, match="State the micrometres per pixel"):
        align_automatically(he_slide, unknown)
