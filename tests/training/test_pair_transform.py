"""Augmentation: the pair stays registered, the colours of each stain may change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.training.config import AugmentSettings
from napari_hmkd.training.transforms import PairTransform, scale_density

GEOMETRY = AugmentSettings(stain_jitter=0)


def registered_pair() -> np.ndarray:
    """An IHC tile that is the H&E tile in negative, so that each pixel knows its partner."""
    he = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    return np.stack([he, 255 - he])


@given(seed=st.integers(0, 2**32 - 1))
def test_the_pair_stays_registered(seed: int) -> None:
    he, ihc = PairTransform(GEOMETRY)(registered_pair(), np.random.default_rng(seed))
    np.testing.assert_array_equal(ihc, 255 - he)


def test_all_eight_orientations_occur_and_no_other() -> None:
    pair = registered_pair()
    turned = [np.rot90(p, k, (1, 2)) for p in (pair, pair[:, :, ::-1]) for k in range(4)]
    wanted = {np.ascontiguousarray(p).tobytes() for p in turned}
    rngs = (np.random.default_rng(seed) for seed in range(200))
    assert {PairTransform(GEOMETRY)(pair, rng).tobytes() for rng in rngs} == wanted


def test_switched_off_it_changes_nothing() -> None:
    off = AugmentSettings(flips=False, turns=False, stain_jitter=0)
    pair = registered_pair()
    np.testing.assert_array_equal(PairTransform(off)(pair, np.random.default_rng(3)), pair)


def test_stain_jitter_differs_between_the_stains_and_keeps_the_place() -> None:
    he = registered_pair()[0]
    settings = AugmentSettings(flips=False, turns=False, stain_jitter=0.3)
    changed = PairTransform(settings)(np.stack([he, he]), np.random.default_rng(1))
    assert not np.array_equal(changed[0], changed[1])
    # A factor on the density keeps the order of intensities in each channel.
    for stain in changed:
        for channel in range(3):
            order = np.argsort(he[..., channel], axis=None)
            assert (np.diff(stain[..., channel].ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_density_is_scaled(factor: float) -> None:
    tile = np.full((2, 2, 3), 128, np.uint8)
    scaled = scale_density(tile, np.full(3, factor))
    assert np.allclose(scaled, 255 * (128 / 255) ** factor, atol=0.5)
    white = np.full((2, 2, 3), 255, np.uint8)
    np.testing.assert_array_equal(scale_density(white, np.full(3, factor)), white)
