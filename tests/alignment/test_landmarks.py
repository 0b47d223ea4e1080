"""Alignment from pairs of landmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.alignment import Method, align_by_landmarks, residuals_um
from napari_hmkd.errors import AlignmentError
from napari_hmkd.slide import Slide, open_slide

HE_UM = np.array(
    [[100.0, 200.0], [3000.0, 400.0], [2500.0, 5000.0], [300.0, 4100.0], [1500.0, 2500.0]]
)


@pytest.fixture(scope="module")
def slide(
    tmp_path_factory: pytest.TempPathFactory, paint_slide: Callable[..., Path]
) -> Iterator[Slide]:
    with open_slide(paint_slide(tmp_path_factory.mktemp("slide") / "a.tif", [[1, 2]])) as opened:
        yield opened


def turned(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize(
    ("pairs", "matrix"),
    [
        (1, turned(0, 1, (300, -20))),
        (2, turned(35, 1.02, (-700, 90))),
        (3, np.array([[1.01, 0.03, 40], [-0.02, 0.98, 900]])),
        (5, np.array([[0.02, -1.01, 40], [0.99, 0.03, 900]])),
    ],
)
def test_exact_pairs_give_the_map_back(slide: Slide, pairs: int, matrix: np.ndarray) -> None:
    he = HE_UM[:pairs]
    found = align_by_landmarks(slide, slide, he, moved(he, matrix))
    assert found.method is Method.LANDMARKS
    np.testing.assert_allclose(found.to_ihc(HE_UM), moved(HE_UM, matrix), atol=1e-6)
    assert found.residual_um == (pytest.approx(0, abs=1e-6) if pairs > 3 else None)


def test_no_other_affine_map_leaves_less(slide: Slide) -> None:
    rng = np.random.default_rng(0)
    ihc = moved(HE_UM, turned(4, 1.01, (50, 80))) + rng.normal(0, 8, HE_UM.shape)
    found = align_by_landmarks(slide, slide, HE_UM, ihc)
    off = residuals_um(found, HE_UM, ihc)
    least = np.sqrt(np.mean(off**2))
    assert found.residual_um == pytest.approx(least)
    for _ in range(200):
        step = rng.normal(0, 1, (2, 3)) * [1e-4, 1e-4, 0.3]
        other = moved(HE_UM, found.affine[:2] + step)
        assert np.sqrt(np.mean(np.sum((other - ihc) ** 2, axis=1))) >= least - 1e-9


@pytest.mark.parametrize(
    ("he", "ihc", "message"),
    [
        (
            HE_UM[:0],
            HE_UM[:0],
            "0 on the H&E and 0 on the IHC: .*one at least.* 'Mark landmarks'",
        ),
        (HE_UM[:3], HE_UM[:2], "3 on the H&E and 2 on the IHC: .*same number"),
        (HE_UM[0], HE_UM[0], r"shapes \(2,\) on the H&E .* each landmark is a \(y, x\)"),
        (HE_UM[:1].repeat(2, 0), HE_UM[:2], "of one place"),
        (np.array([[0, 0], [900, 900], [1800, 1801]]), HE_UM[:3], r"0\.\d+ um .* one line"),
        (np.array([[0, 0], [900, 900], [1800, 1800]]), HE_UM[:3], r"within 0\.0 um .* one line"),
        (HE_UM[:3] * np.nan, HE_UM[:3], "not finite"),
        (HE_UM, HE_UM * (1, -1), "mirrors.* of landmarks is of two places"),
        (HE_UM, HE_UM * 3, "pixel sizes"),
    ],
)
def test_what_tells_no_map_is_refused(slide: Slide, he, ihc, message: str) -> None:
    with pytest.raises(AlignmentError, match=message):
        align_by_landmarks(slide, slide, he, ihc)
