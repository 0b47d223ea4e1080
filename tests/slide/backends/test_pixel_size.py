"""Which pixel size is believed, and what the user is told."""

from __future__ import annotations

import pytest

from napari_hmkd.errors import PixelSizeError
from napari_hmkd.slide.backends.pixel_size import (
    PixelSize,
    doubts,
    first_plausible,
    from_sides,
    from_user,
    guess_mpp,
    missing_message,
)


@pytest.mark.parametrize("value", [0.05, 0.25, 20.0])
def test_scanner_pixel_sizes_are_plausible(value: float):
    assert PixelSize((value, value), "tag").plausible


@pytest.mark.parametrize("value", [0.0, -0.5, 0.0499, 20.1, 353.0, float("nan"), float("inf")])
def test_other_pixel_sizes_are_not(value: float):
    assert not PixelSize((0.5, value), "tag").plausible
    with pytest.raises(PixelSizeError, match="um/px"):
        from_user(value)


def test_the_first_plausible_statement_is_taken():
    absurd, right = PixelSize((353, 353), "a"), PixelSize((0.5, 0.5), "b")
    assert first_plausible([absurd, right, PixelSize((1, 1), "c")]) is right
    assert first_plausible([absurd]) is None


@pytest.mark.parametrize(
    ("y", "x", "mpp"),
    [(0.25, 0.5, (0.25, 0.5)), (None, 0.5, (0.5, 0.5)), (0.25, None, (0.25, 0.25))],
)
def test_one_side_alone_speaks_for_both(y: float | None, x: float | None, mpp: tuple[float, float]):
    assert from_sides(y, x, "tag") == PixelSize(mpp, "tag")
    assert from_sides(None, None, "tag") is None


def test_a_stated_pixel_size_says_that_the_user_stated_it():
    assert from_user(0.5) == PixelSize((0.5, 0.5), "user")


@pytest.mark.parametrize(
    ("properties", "guess"),
    [
        ({"openslide.objective-power": "40"}, 0.25),
        ({"aperio.AppMag": "20"}, 0.5),
        ({"hamamatsu.SourceLens": "none", "ome.NominalMagnification": "10.0"}, 1.0),
        ({"openslide.objective-power": "0"}, None),
        ({"openslide.objective-power": "nan"}, None),
        ({}, None),
    ],
)
def test_a_pixel_size_is_guessed_from_the_objective(properties: dict, guess: float | None):
    assert guess_mpp(properties) == guess


@pytest.mark.parametrize(
    ("mpp", "properties", "said"),
    [
        ((0.9, 0.15), {}, ["0.9 x 0.15 um/px (tag), 6 times as long"]),
        ((0.5, 0.54), {}, []),
        ((0.125, 0.125), {"aperio.AppMag": "20"}, ["20x, which has about 0.5 um/px"]),
        ((0.25, 0.25), {"aperio.AppMag": "20"}, ["0.25 x 0.25 um/px (tag) does not go with"]),
        ((1.0, 1.0), {"aperio.AppMag": "20"}, ["does not go with"]),
        ((0.3438, 0.3438), {"aperio.AppMag": "20"}, []),
        ((0.24, 0.24), {"openslide.vendor": "mirax", "openslide.objective-power": "20"}, []),
        ((0.9, 0.15), {"aperio.AppMag": "5"}, ["6 times", "5x"]),
    ],
)
def test_a_pixel_size_that_contradicts_itself_or_the_objective_is_doubted(
    mpp: tuple[float, float], properties: dict[str, str], said: list[str]
):
    found = doubts(PixelSize(mpp, "tag"), properties)
    assert len(found) == len(said)
    assert all(part in warning for part, warning in zip(said, found, strict=True))
    assert doubts(None, properties) == ()


def test_the_message_names_what_was_found_and_how_to_state_it():
    message = missing_message("a.tif", [PixelSize((352.8, 352.8), "TIFF resolution")], 0.25)
    assert "352.8 x 352.8 um/px (TIFF resolution)" in message
    assert "--mpp" in message
    assert "0.25 um/px" in message
    assert "states none" in missing_message("a.tif", [], None)
