"""Levels of DICOM slides lie where their pixel spacing says, also where frames fill them up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from skimage.data import astronaut

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide

TILE = 64
STEPS = (1, 2, 4)
OURS_AND_OPENSLIDE = pytest.mark.parametrize("backend", [None, "openslide"])


def set_spacing(file: Path, spacing_mm: float | None, undefined_length: bool = False) -> None:
    data = pydicom.dcmread(file)
    measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    del measures.PixelSpacing
    if spacing_mm is not None:
        measures.PixelSpacing = [spacing_mm] * 2
    data["SharedFunctionalGroupsSequence"].is_undefined_length = undefined_length
    data.save_as(file)


def filled(pixels: np.ndarray) -> np.ndarray:
    """With one frame more at the right and below, as Philips writes levels."""
    height, width, _ = pixels.shape
    return np.pad(pixels, ((0, -height % TILE + TILE), (0, -width % TILE + TILE), (0, 0)))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.hstack([astronaut(), astronaut()[:, :256]])


@pytest.fixture
def levels_filled_up(tmp_path: Path, pixels, write_dicom) -> list[Path]:
    """A slide of 0.25 um/px, of whose further levels each has a frame too many."""
    levels = [pixels, *(filled(pixels[::step, ::step]) for step in STEPS[1:])]
    files = write_dicom(tmp_path, levels, coding="plain", photometric="RGB")
    for file, step in zip(files, STEPS, strict=True):
        set_spacing(file, 0.00025 * step, undefined_length=step == 2)
    return files


@OURS_AND_OPENSLIDE
def test_levels_that_are_filled_up_lie_where_they_belong(levels_filled_up, pixels, backend) -> None:
    with open_slide(levels_filled_up[0], backend=backend) as slide:
        found = [(level.size, level.downsample) for level in slide.levels]
        assert found == [(Size(512 // step, 768 // step), step) for step in STEPS]
        for level, step in enumerate(STEPS):
            whole = Region(0, 0, 512 // step, 768 // step)
            assert np.array_equal(slide.read_level(level, whole), pixels[::step, ::step])
        last = slide.read_downsampled((384, 512), Size(32, 64), (4, 4)).astype(int)
    assert np.abs(last - pixels[384::4, 512::4]).mean() < 8  # OpenSlide interpolates


@pytest.mark.parametrize(
    "spacings_mm",
    [
        (0.00025, 0.0005),
        (0.000253, 0.000505),
        (0.00025, 0.00025),
        (0.00025, 0.00075),
        (None, 0.0005),
        (0.00025, None),
    ],
    ids=["true", "rounded", "level 0's on both", "wrong", "none on level 0", "none on level 1"],
)
@pytest.mark.parametrize("size", [(500, 760), (37, 91)])
def test_sizes_that_are_a_step_apart_tell_the_step(
    tmp_path: Path, noise, write_dicom, spacings_mm, size
) -> None:
    base = noise(*size)
    files = write_dicom(tmp_path, [base, base[::2, ::2]])
    for file, spacing_mm in zip(files, spacings_mm, strict=True):
        set_spacing(file, spacing_mm)
    with open_slide(files[0]) as slide:
        assert slide.levels[1].size == Size(-(-size[0] // 2), -(-size[1] // 2))
        assert slide.levels[1].downsample == size[1] / -(-size[1] // 2)


def test_the_step_of_levels_that_are_filled_up_is_whole_where_spacings_are_rounded(
    levels_filled_up,
) -> None:
    rounded_mm = {1: 0.000253, 2: 0.000505, 4: 0.00101, 8: 0.00202}
    for file, step in zip(levels_filled_up, STEPS, strict=True):
        set_spacing(file, rounded_mm[step])
    with open_slide(levels_filled_up[0]) as slide:
        found = [(level.size, level.downsample) for level in slide.levels]
    assert found == [(Size(512 // step, 768 // step), step) for step in STEPS]


def test_a_step_of_levels_that_are_filled_up_need_not_be_whole(
    tmp_path: Path, pixels, noise, write_dicom
) -> None:
    files = write_dicom(tmp_path, [pixels, filled(noise(205, 307))])
    for file, spacing_mm in zip(files, (0.00025, 0.000625), strict=True):
        set_spacing(file, spacing_mm)
    with open_slide(files[0]) as slide:
        assert slide.levels[1].size == Size(205, 307)
        assert slide.levels[1].downsample == pytest.approx(2.5)


def test_the_spacing_tells_the_step_of_a_level_that_ends_before_level_0(
    tmp_path: Path, pixels, write_dicom
) -> None:
    files = write_dicom(tmp_path, [pixels, pixels[::2, : 768 - TILE : 2]])
    for file, step in zip(files, STEPS, strict=False):
        set_spacing(file, 0.00025 * step)
    with open_slide(files[0]) as slide:
        assert slide.levels[1].size == Size(256, (768 - TILE) // 2)
        assert slide.levels[1].downsample == 2


@OURS_AND_OPENSLIDE
@pytest.mark.parametrize(
    ("height", "width", "spacing_mm"), [(300, 500, 0.00025), (100, 300, 0.0005)]
)
def test_images_of_two_parts_of_the_glass_make_no_pyramid(
    tmp_path: Path, noise, write_dicom, backend, height: int, width: int, spacing_mm: float
):
    """They can be in one series; the smaller one would be shown as a coarse picture of the larger."""
    files = write_dicom(tmp_path, [noise(512, 768), noise(height, width)])
    for file, of_level_mm in zip(files, (0.00025, spacing_mm), strict=True):
        set_spacing(file, of_level_mm)
    refusal = rf"512 x 768 and {height} x {width} px.*different parts of the gl"
    with pytest.raises(SlideError, match=refusal):
        open_slide(files[0], backend=backend)
