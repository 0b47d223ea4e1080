"""The whole slide in few pixels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hmkd.errors import SlideReadError
from napari_hmkd.geometry import Size
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.overview import UNREADABLE_GREY, fitted_size, read_overview


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        (Size(3000, 1001), Size(1024, 342)),
        (Size(10, 20), Size(10, 20)),
        (Size(90_000, 3), Size(1024, 1)),
    ],
)
def test_a_thumbnail_shrinks_and_never_enlarges(size: Size, fitted: Size):
    assert fitted_size(size, 1024) == fitted


def test_a_thumbnail_shows_the_whole_slide(tmp_path, write_pyramid):
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[:100, :150], pixels[100:, 150:] = (200, 0, 0), (0, 0, 200)
    write_pyramid(tmp_path / "a.tif", pixels)
    with open_slide(tmp_path / "a.tif") as slide:
        small = slide.thumbnail(30)
    assert small.shape == (20, 30, 3)
    assert np.array_equal(small, pixels[5::10, 5::10])


@pytest.mark.parametrize("axis", [0, 1])
def test_a_slide_read_in_several_blocks_is_put_together_in_place(tmp_path, write_pyramid, axis):
    bands = np.arange(88, dtype=np.uint8).repeat(100)[:, None, None]  # each of one grey
    pixels = np.broadcast_to(bands, (8800, 200, 3)).swapaxes(0, axis)
    write_pyramid(tmp_path / "a.tif", np.ascontiguousarray(pixels))
    with open_slide(tmp_path / "a.tif") as slide:
        small = slide.thumbnail(88).swapaxes(0, axis)
    assert small.shape == (88, 2, 3)
    assert (small == np.arange(88)[:, None, None]).all()


def test_damage_is_grey_in_a_thumbnail_and_listed(tmp_path, write_pyramid, damage):
    white = np.full((1024, 2048, 3), 250, np.uint8)
    write_pyramid(tmp_path / "a.tif", white, tile=(256, 256))
    damage(tmp_path / "a.tif", 0, 17)
    with open_slide(tmp_path / "a.tif") as slide:
        overview = read_overview(slide, Size(64, 128))
    lost = np.zeros((64, 128), bool)
    lost[:16, :16] = lost[32:48, 16:32] = True
    assert np.array_equal(~overview.readable, lost)
    assert (overview.pixels[overview.readable] == 250).all()
    assert (overview.pixels[~overview.readable] == UNREADABLE_GREY).all()


def test_a_slide_without_a_readable_tile_is_an_error(tmp_path, noise, write_pyramid, damage):
    write_pyramid(tmp_path / "a.tif", noise(128, 128))
    damage(tmp_path / "a.tif", 0, 1, 2, 3)
    with open_slide(tmp_path / "a.tif") as slide:
        with pytest.raises(SlideReadError, match=r"No part of 'a\.tif'"):
            slide.thumbnail()
