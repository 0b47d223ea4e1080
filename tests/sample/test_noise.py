from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.sample.noise import NoiseField, derive_seed, hash_normal, hash_uniform


@given(seed=st.integers(0, 2**60), i=st.integers(-(10**6), 10**6), j=st.integers(-(10**6), 10**6))
def test_hash_depends_only_on_seed_and_key_whatever_the_block(seed: int, i: int, j: int) -> None:
    block = hash_uniform(seed, np.arange(i - 1, i + 2)[:, None], np.arange(j - 1, j + 2))
    assert block[1, 1] == hash_uniform(seed, i, j)


def test_hash_normal_is_standard_normal() -> None:
    values = hash_normal(3, np.arange(300)[:, None], np.arange(300))
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.2


def test_derived_seeds_differ() -> None:
    assert len({derive_seed(s, k) for s in range(20) for k in range(20)}) == 400


@given(
    seed=st.integers(0, 1000),
    y=st.floats(-5000, 5000),
    x=st.floats(-5000, 5000),
    period=st.floats(1, 500),
)
def test_grid_and_single_points_agree(seed: int, y: float, x: float, period: float) -> None:
    field = NoiseField(seed, period)
    ys, xs = y + np.arange(4) * 0.7, x + np.arange(5) * 1.3
    np.testing.assert_allclose(
        field.grid(ys, xs), field.at(ys[:, None], xs[None, :]), atol=2e-5, rtol=0
    )


def test_noise_has_unit_spread_and_no_jumps() -> None:
    axis = np.arange(0, 4000, 1.0)
    values = NoiseField(5, 20.0).grid(axis, axis[:400])
    assert values.std() == pytest.approx(1, abs=0.1)
    assert np.abs(np.diff(values, axis=0)).max() < 0.3
