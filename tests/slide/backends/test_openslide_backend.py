"""What OpenSlide's properties say about the part that was scanned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide


@pytest.fixture
def path(tmp_path: Path, noise, write_pyramid) -> Path:
    write_pyramid(tmp_path / "a.tif", noise(400, 600), levels=2)
    return tmp_path / "a.tif"


def test_only_the_scanned_part_is_the_slide(path: Path, noise, state_bounds):
    pixels = noise(400, 600)
    state_bounds(y=40, x=100, height=200, width=300)
    with open_slide(path, backend="openslide") as slide:
        assert slide.origin_px == (40, 100)
        assert [level.size for level in slide.levels] == [Size(200, 300), Size(100, 150)]
        assert [level.downsample for level in slide.levels] == [1.0, 2.0]
        assert np.array_equal(slide.read_level(0, Region(0, 0, 200, 300)), pixels[40:240, 100:400])
        assert np.array_equal(
            slide.read_level(1, Region(5, 7, 20, 30)), pixels[::2, ::2][25:45, 57:87]
        )
        assert (slide.read_level(0, Region(200, 0, 10, 10)) == 255).all()


@pytest.mark.parametrize(
    "bounds",
    [
        {"y": 40, "x": 100, "height": 200},
        {"y": 900, "x": 0, "height": 10, "width": 10},
        {"y": 0, "x": 0, "height": 0, "width": 0},
    ],
)
def test_bounds_that_make_no_sense_are_ignored(path: Path, state_bounds, bounds):
    state_bounds(**bounds)
    with open_slide(path, backend="openslide") as slide:
        assert (slide.origin_px, slide.size) == ((0, 0), Size(400, 600))


def test_a_damaged_colour_profile_keeps_no_slide_from_opening(tmp_path, noise, write_pyramid):
    pixels = noise(64, 64)
    write_pyramid(tmp_path / "a.tif", pixels, iccprofile=b"no profile" * 20)
    for backend in ("openslide", "tifffile"):
        with open_slide(tmp_path / "a.tif", backend=backend) as slide:
            assert "cannot be used" in slide.colour
            assert np.array_equal(slide.read_level(0, Region(0, 0, 64, 64)), pixels)
