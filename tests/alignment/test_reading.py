"""Tiles of the IHC, read where the H&E's tile lies on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage
from tests.alignment.sections import MPP, drawn, move

from napari_hmkd.alignment import Alignment, align_by_matrix, read_ihc_tile
from napari_hmkd.errors import PixelSizeError
from napari_hmkd.geometry import Size
from napari_hmkd.slide import Slide

WriteSlide = Callable[..., Slide]

HE_MPP = (1.6, 2.0)
TILE_PX = 96


@pytest.mark.parametrize("shift_um", [(0.0, 0.0), (500.0, -130.0), (17.3, 11.7), (-2000.0, 0.0)])
@pytest.mark.parametrize("mpp", [4.0, 5.3, 2.5])
def test_a_shift_reads_what_the_slide_itself_reads_there(
    he_slide: Slide, ihc_slide: Slide, shift_um: tuple[float, float], mpp: float
) -> None:
    affine = np.column_stack([np.eye(2), shift_um])
    origin = (610.4, 580.0)
    tile = read_ihc_tile(
        ihc_slide, align_by_matrix(he_slide, ihc_slide, affine), origin, HE_MPP, TILE_PX, mpp
    )
    y, x = (np.multiply(origin, HE_MPP) + shift_um) / MPP
    plain = ihc_slide.read((y, x), Size(TILE_PX, TILE_PX), mpp)
    assert tile.dtype == np.uint8
    assert np.abs(tile.astype(int) - plain).max() <= 1


@pytest.mark.parametrize(("turns", "angle_deg"), [(1, 90.0), (2, 180.0), (3, 270.0)])
def test_a_quarter_turn_reads_the_same_pixels_turned(
    he_slide: Slide, write_slide: WriteSlide, turns: int, angle_deg: float
) -> None:
    truth = move(drawn(1).ihc, angle_deg)
    turned = write_slide("turned.tif", truth.pixels, MPP)
    alignment = align_by_matrix(he_slide, turned, truth.affine)
    tile = read_ihc_tile(turned, alignment, (200.0, 300.0), (MPP, MPP), TILE_PX, MPP)
    assert np.abs(tile.astype(int) - drawn(1).ihc[200:296, 300:396]).max() <= 2


@pytest.mark.parametrize(("angle_deg", "scale"), [(7.0, 1.0), (140.0, 1.03), (-60.0, 0.6)])
def test_a_turned_and_scaled_slide_reads_as_the_registered_one(
    he_slide: Slide, ihc_slide: Slide, write_slide: WriteSlide, angle_deg: float, scale: float
) -> None:
    truth = move(drawn(1).ihc, angle_deg, scale, mpp=1.5)
    turned = write_slide("turned.tif", truth.pixels, 1.5)
    alignment = align_by_matrix(he_slide, turned, truth.affine)
    straight = align_by_matrix(he_slide, ihc_slide, np.eye(3))

    def read(slide: Slide, alignment: Alignment) -> np.ndarray:
        tile = read_ihc_tile(slide, alignment, (200.0, 300.0), (MPP, MPP), TILE_PX, 2 * MPP)
        # Without the finest detail, of which turning pixels costs some.
        return ndimage.gaussian_filter(tile.astype(float), (1, 1, 0))

    tile, registered = read(turned, alignment), read(ihc_slide, straight)
    beside = np.abs(tile[1:] - registered[:-1]).mean()
    assert np.abs(tile - registered).mean() < min(1, beside / 3)


def test_beyond_the_slide_it_is_white(he_slide: Slide, ihc_slide: Slide) -> None:
    affine = np.array([(0.8, -0.6, -9000.0), (0.6, 0.8, 100.0)])
    alignment = align_by_matrix(he_slide, ihc_slide, affine)
    tile = read_ihc_tile(ihc_slide, alignment, (0.0, 0.0), (MPP, MPP), TILE_PX, MPP)
    assert (tile == 255).all()


def test_an_ihc_too_coarse_for_the_tile_is_refused(he_slide: Slide, ihc_slide: Slide) -> None:
    alignment = align_by_matrix(he_slide, ihc_slide, np.eye(3))
    with pytest.raises(PixelSizeError, match="enlarged 8 times"):
        read_ihc_tile(ihc_slide, alignment, (0.0, 0.0), (0.5, 0.5), TILE_PX, 0.5)
