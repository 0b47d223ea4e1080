"""Shifts of a piece of texture, to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_hmkd.alignment.shifting import find_shift


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(80, 90)), 3)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.0, -3.0), (0.4, 1.7), (-5.3, 4.6)])
def test_a_moved_piece_is_found_to_a_tenth_of_a_pixel(
    texture: np.ndarray, shift: tuple[float, float]
) -> None:
    around = ndimage.shift(texture, shift, order=3, mode="reflect")
    found, fits = find_shift(texture[10:-10, 10:-10], around)
    assert fits.shape == (21, 21)
    assert np.allclose(found, shift, atol=0.1)


def test_brightness_and_contrast_do_not_matter(texture: np.ndarray) -> None:
    found, fits = find_shift(texture[10:-10, 10:-10], 3 + 0.2 * texture)
    assert np.allclose(found, 0, atol=0.01)
    assert fits.max() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("around", [np.zeros((40, 40)), np.indices((40, 40))[0] ** 3.0])
def test_what_has_no_best_place_within_reach_is_not_found(around: np.ndarray) -> None:
    piece = np.indices((20, 20))[0] * 1.0
    assert np.isnan(find_shift(piece, around)[0]).all()
