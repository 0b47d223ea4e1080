"""Pictures that are worked on in strips come out as if they had been worked on whole."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from napari_hmkd.slide.contents.density import optical_density, window_mean
from napari_hmkd.slide.contents.morphology import closing, opening
from napari_hmkd.slide.contents.pen import find_pen
from napari_hmkd.slide.contents.strips import by_strips
from napari_hmkd.slide.contents.thin import faint_mesh
from napari_hmkd.slide.contents.tissue import tissue_in

LARGE = [(1031, 770), (2, 400_001), (400_001, 2)]
"""Height and width, px."""
GLASS = np.array([240.0, 238.0, 241.0])


@pytest.fixture(params=LARGE, ids="{0[0]} x {0[1]}".format)
def picture(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*request.param, 3), np.uint8)


@pytest.mark.parametrize("halo", [0, 3])
def test_each_row_is_asked_for_once_and_comes_back_to_its_place(
    picture: np.ndarray, halo: int
) -> None:
    planes = np.moveaxis(picture, -1, 0)
    seen = []

    def double(strip: np.ndarray, first: np.ndarray) -> np.ndarray:
        assert strip.shape[1:] == first.shape
        seen.append(len(first))
        return strip.astype(np.uint16) * 2

    found = by_strips(double, planes, planes[0], halo=halo)
    np.testing.assert_array_equal(found, planes * np.uint16(2))
    assert len(seen) > 1 or planes.shape[1] < 4 * halo
    assert sum(seen) <= planes.shape[1] + 2 * halo * (len(seen) - 1)


@pytest.mark.parametrize("height", [1, 60, 200])
def test_where_much_around_a_row_counts_few_rows_are_worked_on_twice(height: int) -> None:
    seen = []

    def note(strip: np.ndarray) -> np.ndarray:
        seen.append(len(strip))
        return strip

    by_strips(note, np.zeros((height, 40_000), np.uint8), halo=19)
    assert sum(seen) <= 2 * height


@pytest.mark.parametrize("window", [3, 10])
def test_means_do_not_know_of_strips(picture: np.ndarray, window: int) -> None:
    values = picture[..., 0].astype(np.float32)
    wanted = ndimage.uniform_filter(values, window)
    np.testing.assert_allclose(window_mean(values, window), wanted, rtol=1e-6)


@pytest.mark.parametrize("side", [2, 9])
@pytest.mark.parametrize("ours", [opening, closing])
def test_squares_do_not_know_of_strips(
    picture: np.ndarray, ours: Callable[..., np.ndarray], side: int
) -> None:
    values = picture[..., 0]
    wanted = {opening: ndimage.grey_opening, closing: ndimage.grey_closing}[ours]
    np.testing.assert_array_equal(ours(values, side), wanted(values, (side, side)))


def test_pen_on_the_border_of_a_strip_is_found_whole() -> None:
    pixels = np.full((900, 1100, 3), 240, np.uint8)
    pixels[100:800, 100:160] = (40, 60, 200)
    density = optical_density(pixels, GLASS)
    assert density.shape == (3, 900, 1100)
    rows, columns = np.nonzero(find_pen(density, 8.0))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (97, 802, 97, 162)


@pytest.fixture
def in_strips(monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray]:
    """What a function gives where strips have about so many values."""

    def call(values: int, function: Callable[..., np.ndarray], *arguments: object) -> np.ndarray:
        monkeypatch.setattr("napari_hmkd.slide.contents.strips._STRIP_VALUES", values)
        return function(*arguments)

    return call


def test_tissue_does_not_know_of_strips(in_strips: Callable[..., np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    stained = ndimage.gaussian_filter(rng.normal(0, 1, (240, 150)), 6).clip(0)
    density = stained * rng.uniform(0, 2, stained.shape)
    pixels = (240 * 10 ** -(density[..., None] * (0.2, 1.0, 0.5))).astype(np.uint8)
    whole = in_strips(10**9, tissue_in, pixels, 8.0)
    assert 0.2 < whole.mean() < 0.8
    np.testing.assert_array_equal(in_strips(1000, tissue_in, pixels, 8.0), whole)


def test_fat_does_not_know_of_strips(in_strips: Callable[..., np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    density = (rng.random((240, 150)) < 0.1) * np.float32(0.02)
    density *= ndimage.gaussian_filter(rng.normal(0, 1, density.shape), 8) > 0
    tissue = np.zeros(density.shape, bool)
    tissue[:, :20] = True
    whole = in_strips(10**9, faint_mesh, density, tissue, tissue, 8.0)
    assert 0.1 < whole.mean() < 0.6
    np.testing.assert_array_equal(in_strips(1000, faint_mesh, density, tissue, tissue, 8.0), whole)


def test_a_small_picture_starts_no_thread() -> None:
    threads = set()
    by_strips(lambda strip: threads.add(threading.get_ident()) or strip, np.zeros((64, 64)))
    assert threads == {threading.get_ident()}


def test_what_fails_in_a_strip_is_raised() -> None:
    def fail(strip: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        by_strips(fail, np.zeros((2000, 1000)))
