"""Shifted arrays give what SciPy and scikit-image give, up to the border."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import isotropic_dilation

from napari_hmkd.slide.contents.density import window_mean
from napari_hmkd.slide.contents.morphology import closing, dilation, erosion, opening, within

SHAPES = [(40, 31), (1, 17), (17, 1), (3, 140)]
FILTERS = {
    dilation: ndimage.grey_dilation,
    erosion: ndimage.grey_erosion,
    opening: ndimage.grey_opening,
    closing: ndimage.grey_closing,
}


@pytest.fixture(params=SHAPES, ids="{0[0]} x {0[1]}".format)
def values(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(0).random(request.param, np.float32)


@pytest.mark.parametrize("side", [1, 2, 3, 6, 9, 50])
@pytest.mark.parametrize("ours", FILTERS, ids=lambda one: one.__name__)
def test_squares_are_those_of_scipy(
    values: np.ndarray, ours: Callable[..., np.ndarray], side: int
) -> None:
    for given in (values, values > 0.8):
        found = ours(given, side)
        assert found.dtype == given.dtype
        np.testing.assert_array_equal(found, FILTERS[ours](given, (side, side)))


@pytest.mark.parametrize("distance_px", [0.4, 1.0, 1.5, 3.0, 5.0, 24.9, 60.0])
def test_discs_are_those_of_scikit_image(values: np.ndarray, distance_px: float) -> None:
    mask = values > 0.97
    mask.flat[0] = True
    found = within(mask, distance_px)
    np.testing.assert_array_equal(found, isotropic_dilation(mask, distance_px))


@pytest.mark.parametrize("window", [3, 4, 15])
def test_means_are_those_of_scipy(values: np.ndarray, window: int) -> None:
    wanted = ndimage.uniform_filter(values, window)
    np.testing.assert_array_equal(window_mean(values, window), wanted)


def test_nothing_that_is_given_changes(values: np.ndarray) -> None:
    before, mask = values.copy(), values > 0.9
    for filtered in FILTERS:
        filtered(values, 5)
    within(mask, 4.0)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(mask, before > 0.9)


def test_an_empty_mask_has_nothing_near_it() -> None:
    assert not within(np.zeros((5, 6), bool), 3.0).any()
