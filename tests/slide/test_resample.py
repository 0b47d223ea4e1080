"""The separable filter against the integral it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.slide.resample import AxisWeights, axis_weights, resample

STARTS = st.floats(-20, 20)
COUNTS = st.integers(1, 40)


def spread(weights: AxisWeights, signal: np.ndarray, offset: int) -> np.ndarray:
    """Apply weights to a signal whose element 0 is source pixel `-offset`."""
    first = weights.first + offset
    return weights.matrix @ signal[first : first + weights.length]


@given(start=STARTS, step=st.floats(1, 9), count=COUNTS)
def test_shrinking_takes_the_exact_mean_over_each_output_pixel(start, step, count):
    signal = np.random.default_rng(0).random(500)
    integral = np.concatenate([[0], signal.cumsum()])
    edges = start + np.arange(count + 1) * step + 30
    mean = np.diff(np.interp(edges, np.arange(501), integral)) / step

    assert spread(axis_weights(start, step, count), signal, 30) == pytest.approx(mean, abs=1e-5)


@given(start=STARTS, step=st.floats(0.5, 0.999), count=COUNTS)
def test_enlarging_interpolates_between_pixel_centres(start, step, count):
    signal = np.random.default_rng(0).random(200)
    centres = start + (np.arange(count) + 0.5) * step + 30
    expected = np.interp(centres, np.arange(200) + 0.5, signal)

    result = spread(axis_weights(start, step, count), signal, 30)
    assert result == pytest.approx(expected, abs=1e-5)


@given(start=STARTS, step=st.floats(0.5, 9), count=COUNTS)
def test_weights_of_an_output_pixel_sum_to_one(start, step, count):
    sums = axis_weights(start, step, count).matrix.sum(axis=1)
    assert sums == pytest.approx(np.ones(count), abs=1e-6)


def test_aligned_whole_steps_need_no_pixel_beyond_the_region():
    weights = axis_weights(6.0, 3.0, 4)
    assert (weights.first, weights.length) == (6, 12)


def test_both_axes_are_filtered_and_rounded_to_nearest():
    image = np.array([[0, 1, 10], [2, 4, 20]], np.uint8)[..., None].repeat(3, axis=2)
    rows, columns = axis_weights(0, 2, 1), axis_weights(0, 1.5, 2)

    result = resample(image, rows, columns)

    # column means 1, 2.5, 15; (1 + 0.5 * 2.5) / 1.5 = 1.5 and (0.5 * 2.5 + 15) / 1.5 = 10.83
    assert result.dtype == np.uint8
    assert result[..., 0].tolist() == [[2, 11]]


@pytest.mark.parametrize(
    ("start", "step", "same"),
    [(3.0, 1.0, True), (3.5, 1.0, False), (3.0, 0.999, False), (3.0, 1.001, False), (3, 2, False)],
)
def test_only_an_image_that_stays_as_it_is_is_handed_back(start: float, step: float, same: bool):
    weights = axis_weights(start, step, 40)
    image = np.zeros((weights.length, weights.length, 3), np.uint8)
    assert (resample(image, weights, weights) is image) == same


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_a_flat_image_stays_flat(value: int):
    weights = axis_weights(0.3, 1.7, 20)
    image = np.full((weights.length, weights.length, 3), value, np.uint8)
    assert (resample(image, weights, weights) == value).all()


@given(start=STARTS, step=st.floats(0.5, 4), height=st.integers(1, 100), width=st.integers(1, 40))
def test_every_row_of_a_large_picture_is_the_mean_of_what_lies_under_it(start, step, height, width):
    rows, columns = axis_weights(start, step, height), axis_weights(-start, step, width)
    image = np.random.default_rng(0).integers(0, 256, (rows.length, columns.length, 3), np.uint8)
    expected = np.einsum("ij,jkc,lk->ilc", rows.matrix.toarray(), image, columns.matrix.toarray())
    result = resample(image, rows, columns)
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, atol=0.501)
