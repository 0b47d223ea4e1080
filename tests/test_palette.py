"""Grades can be told apart by their colours, however one sees."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from PIL import ImageColor
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_hmkd.palette import GRADE_COLOURS, colourise

# Full dichromacy as Machado, Oliveira and Fernandes 2009 (IEEE TVCG 15:1291) simulate it, on linear RGB.
VISION = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TOLD_APART = 10.0  # CIEDE2000; about 1 is just noticed


def seen(colour: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A colour, RGB in [0, 1], as CIELAB of what is seen."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    changed = np.clip(np.asarray(matrix) @ linear, 0, 1)
    encoded = np.where(changed <= 0.0031308, changed * 12.92, 1.055 * changed ** (1 / 2.4) - 0.055)
    return rgb2lab(encoded)


@pytest.mark.parametrize("matrix", VISION.values(), ids=VISION)
@pytest.mark.parametrize("pair", list(combinations(range(4), 2)), ids=str)
def test_every_two_grades_look_different(matrix: np.ndarray, pair: tuple[int, int]) -> None:
    first, second = (
        seen(np.array(ImageColor.getrgb(GRADE_COLOURS[grade])) / 255, matrix) for grade in pair
    )
    assert deltaE_ciede2000(first, second) > TOLD_APART


def test_between_grades_colours_are_mixed_and_nothing_is_transparent() -> None:
    low, middle, high, nothing = colourise(np.array([1.0, 1.5, 2.0, np.nan]))
    assert middle == pytest.approx((low + high) / 2)
    assert nothing.tolist() == [0, 0, 0, 0]
    assert [one[3] for one in (low, middle, high)] == [1, 1, 1]
