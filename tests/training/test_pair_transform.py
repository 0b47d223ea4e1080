"""Augmentation: the pair stays registered, and each picture's stains change on their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import hed2rgb, rgb2hed

from napari_hmkd.training.config import AugmentSettings
from napari_hmkd.training.transforms import Change, draw_change, jitter_stains

SIDE = 8
NO_STAINS = np.broadcast_to(np.array([1, 0], np.float32), (2, 3, 2))
STILL = Change(shift=(0, 0), flip_y=False, flip_x=False, turns=0, stains=NO_STAINS)
GEOMETRIES = st.builds(
    Change,
    shift=st.tuples(st.integers(-20, 20), st.integers(-20, 20)),
    flip_y=st.booleans(),
    flip_x=st.booleans(),
    turns=st.integers(0, 3),
    stains=st.just(NO_STAINS),
)


def moved(pair: np.ndarray, change: Change) -> np.ndarray:
    out = np.empty_like(pair)
    change.move(pair, out)
    return out


def coordinates() -> np.ndarray:
    """A pair of tiles whose pixels know where they are: (y, x, stain)."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.uint8)
    return np.stack([np.stack([y, x, np.full_like(y, stain)], axis=-1) for stain in (0, 1)])


@given(change=GEOMETRIES)
def test_each_place_shows_the_same_pixel_of_both_stains(change: Change) -> None:
    he, ihc = moved(coordinates(), change)
    np.testing.assert_array_equal(he[..., :2], ihc[..., :2])
    assert (he[..., 2] == 0).all()
    assert (ihc[..., 2] == 1).all()


@given(change=GEOMETRIES, seed=st.integers(0, 99))
def test_an_ihc_that_is_a_function_of_the_he_stays_that_function(change: Change, seed: int) -> None:
    he = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)

    def stain(tile: np.ndarray) -> np.ndarray:
        return 255 - tile[..., [2, 0, 1]] // 2

    after = moved(np.stack([he, stain(he)]), change)
    np.testing.assert_array_equal(after[1], stain(after[0]))


@given(change=GEOMETRIES)
def test_pairs_are_moved_mirrored_flipped_and_turned(change: Change) -> None:
    pair = coordinates()
    wide = np.pad(pair, ((0, 0), (20, 20), (20, 20), (0, 0)), "symmetric")
    y, x = (20 + shift for shift in change.shift)
    wanted = wide[:, y : y + SIDE, x : x + SIDE]
    wanted = np.flip(wanted, [axis for axis, on in ((1, change.flip_y), (2, change.flip_x)) if on])
    wanted = np.rot90(wanted, change.turns, axes=(1, 2))
    np.testing.assert_array_equal(moved(pair, change), wanted)


def draws(settings: AugmentSettings, count: int = 300) -> list[Change]:
    return [draw_change(settings, np.random.default_rng(seed)) for seed in range(count)]


def test_all_orientations_and_all_shifts_within_reach_are_drawn_and_no_others() -> None:
    changes = draws(AugmentSettings(shift_px=2))
    oriented = {(c.flip_y, c.flip_x, c.turns) for c in changes}
    assert oriented == {(y, x, k) for y in (False, True) for x in (False, True) for k in range(4)}
    assert {c.shift for c in changes} == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_stains_are_drawn_per_picture_with_the_spread_asked_for() -> None:
    stains = np.stack([c.stains for c in draws(AugmentSettings(stain_jitter=0.1))])
    np.testing.assert_allclose(stains.mean(0), NO_STAINS, atol=0.03)
    np.testing.assert_allclose(stains.std(0), 0.1, atol=0.02)
    correlation = np.corrcoef(stains.reshape(300, -1), rowvar=False)
    assert np.abs(correlation - np.eye(12)).max() < 0.3


@pytest.mark.parametrize(
    "off", [{"flips": False}, {"turns": False}, {"shift_px": 0}, {"stain_jitter": 0}]
)
def test_switching_one_change_off_leaves_the_draws_of_the_others(off: dict) -> None:
    settings = AugmentSettings()
    still = {
        "flips": {"flip_y": False, "flip_x": False},
        "turns": {"turns": 0},
        "shift_px": {"shift": (0, 0)},
        "stain_jitter": {"stains": NO_STAINS},
    }[next(iter(off))]
    for full, without in zip(draws(settings, 20), draws(replace(settings, **off), 20), strict=True):
        for name, value in (vars(full) | still).items():
            np.testing.assert_array_equal(getattr(without, name), value)


def test_switched_off_it_changes_nothing() -> None:
    settings = AugmentSettings(flips=False, turns=False, shift_px=0, stain_jitter=0)
    for change in draws(settings, 20):
        np.testing.assert_array_equal(moved(coordinates(), change), coordinates())
        np.testing.assert_array_equal(change.stains, NO_STAINS)


def stained(seed: int = 0, count: int = 3) -> np.ndarray:
    """Tiles of random amounts of the three stains, (count, 16, 16, 3) uint8."""
    rng = np.random.default_rng(seed)
    return np.rint(255 * hed2rgb(rng.uniform(0.03, 0.15, (count, 16, 16, 3)))).astype(np.uint8)


CHANGES = {
    "nothing": ([1, 1, 1], [0, 0, 0]),
    "more haematoxylin": ([1.3, 1, 1], [0, 0, 0]),
    "less DAB": ([1, 1, 0.7], [0, 0, 0]),
    "eosin everywhere": ([1, 1, 1], [0, 0.2, 0]),
    "all of it": ([0.9, 1.1, 1.05], [0.1, -0.1, 0.15]),
}


@pytest.mark.parametrize(("factor", "offset"), CHANGES.values(), ids=CHANGES)
def test_stains_change_as_in_scikit_image(factor: list[float], offset: list[float]) -> None:
    tiles = stained()
    # scikit-image's amounts are densities in units of -ln(1e-6).
    amounts = rgb2hed(tiles) * factor - np.divide(offset, np.log(1e-6))
    wanted = 255 * hed2rgb(amounts)
    stains = torch.tensor([factor, offset]).T.expand(len(tiles), 3, 2)
    found = jitter_stains(torch.from_numpy(tiles), stains)
    assert found.dtype == torch.uint8
    np.testing.assert_allclose(found.numpy(), wanted, atol=1)


def test_each_tile_has_its_own_change() -> None:
    tiles = torch.from_numpy(stained())
    stains = torch.from_numpy(np.stack([c.stains[0] for c in draws(AugmentSettings(), 3)]))
    together = jitter_stains(tiles, stains)
    alone = [jitter_stains(tiles[[k]], stains[[k]])[0] for k in range(3)]
    assert torch.equal(together, torch.stack(alone))
    assert not torch.equal(together, tiles)


def test_no_change_of_stain_changes_no_level() -> None:
    levels = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    levels[0, 0, :2] = torch.tensor([0, 255], dtype=torch.uint8)[:, None]
    unchanged = jitter_stains(levels, torch.tensor([1.0, 0.0]).expand(1, 3, 2))
    assert torch.equal(unchanged, levels)


@pytest.mark.parametrize("offset", [-0.05, 0.05])
def test_white_stays_white_and_glass_nearly(offset: float) -> None:
    tiles = torch.full((2, 4, 4, 3), 255, dtype=torch.uint8)
    tiles[1] = 245
    stains = torch.tensor([1.0, offset]).expand(2, 3, 2)
    white, glass = jitter_stains(tiles, stains)
    assert (white == 255).all()
    # The whole offset of all three stains would take green from 245 to 219.
    assert (glass.int() - 245).abs().max() <= 4


def test_half_precision_around_it_does_not_round_the_colours() -> None:
    tiles = torch.from_numpy(stained())
    stains = torch.from_numpy(np.stack([c.stains[1] for c in draws(AugmentSettings(), 3)]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = jitter_stains(tiles, stains)
    assert torch.equal(rounded, jitter_stains(tiles, stains))


def test_nothing_is_copied_to_the_device_for_a_second_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a GPU a copy waits for all that came before."""
    tiles, stains = torch.full((1, 2, 2, 3), 90, dtype=torch.uint8), torch.ones(1, 3, 2)
    wanted = jitter_stains(tiles, stains)
    monkeypatch.setattr(
        torch, "tensor", lambda *_, **__: pytest.fail("a tensor is made of numbers")
    )
    assert torch.equal(jitter_stains(tiles, stains), wanted)
