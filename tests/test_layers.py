"""Layer tuples: right place, right size, accepted by napari."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_hmkd.grading import OpenModel, SlideGrading, start_grading
from napari_hmkd.inference import FailedTile
from napari_hmkd.layers import heatmap_layers
from napari_hmkd.map_modes import MapMode
from napari_hmkd.palette import GRADE_COLOURS
from napari_hmkd.slide import open_slide

MPP = 2.5  # exact in binary, and no whole number of level-0 px per tile


@pytest.fixture
def grading(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> Iterator[SlideGrading]:
    path = paint_slide(tmp_path / "slide.tif", [[0, 1, 2], [3, 0, -1]])
    with open_slide(path, mpp=MPP) as slide:
        grading = start_grading(slide, colour_model)
        list(grading.run())
        yield grading


def corner_um(kwargs: dict[str, Any]) -> np.ndarray:
    """Outer corner of a layer's first pixel; that of a slide layer is at -mpp / 2."""
    return np.array(kwargs["translate"]) - np.array(kwargs["scale"]) / 2


def test_the_heatmap_lies_over_the_slide(grading: SlideGrading) -> None:
    ((data, kwargs, kind),) = heatmap_layers(grading)
    assert kind == "image"
    assert data.shape == (grading.plan.grid.rows, grading.plan.grid.columns)
    assert kwargs["scale"] == pytest.approx((1024.0, 1024.0))  # 256 px of the model at 4 um/px
    assert corner_um(kwargs) == pytest.approx(-MPP / 2)
    # DESIGN.md: half a step less half a pixel.
    step_px = 1024 / MPP
    assert kwargs["translate"] == pytest.approx(((step_px - 1) / 2 * MPP,) * 2)


def test_the_heatmap_shows_expected_grades_and_nan_where_there_are_none(
    grading: SlideGrading,
) -> None:
    ((data, kwargs, _),) = heatmap_layers(grading)
    np.testing.assert_array_equal(data, grading.heatmap.expected_grade)
    assert kwargs["contrast_limits"] == pytest.approx((0.0, 3.0), abs=0.004)
    assert kwargs["colormap"]["colors"].shape == (4, 4)


def test_every_layer_carries_the_notice(grading: SlideGrading) -> None:
    layers = heatmap_layers(grading)
    notices = {kwargs["metadata"]["napari_hmkd"]["notice"] for _, kwargs, _ in layers}
    assert notices == {"painted squares, research use only"}


def test_napari_takes_them(grading: SlideGrading) -> None:
    image = pytest.importorskip("napari.layers", reason="needs napari").Image
    ((data, kwargs, _),) = heatmap_layers(grading)
    layer = image(data, **kwargs)
    assert layer.colormap.name == "HER2 grade"
    low, high = layer.contrast_limits
    as_least = low  # what some graphics drivers draw in place of NaN
    drawn = layer.colormap.map((np.array([0, 1, 2, 3, as_least, np.nan]) - low) / (high - low))
    expected = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in GRADE_COLOURS]
    assert drawn[:4, :3] == pytest.approx(np.array(expected), abs=0.01)
    assert drawn[:, 3].tolist() == [1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("mode", MapMode)
def test_the_least_that_can_be_has_a_colour_and_what_lies_below_has_none(
    grading: SlideGrading, mode: MapMode
) -> None:
    image = pytest.importorskip("napari.layers", reason="needs napari").Image
    (data, kwargs, _), *_ = heatmap_layers(grading, mode)
    layer = image(data, **kwargs)
    low, high = layer.contrast_limits
    least = (0 - low) / (high - low)
    assert layer.colormap.map(np.array([least, 0]))[:, 3].tolist() == [1, 0]


def test_failed_tiles_have_a_layer_of_their_own(grading: SlideGrading) -> None:
    grading.heatmap.failed[1, 0] = FailedTile(1, 0, "damaged")
    grading.heatmap.answers[1, 0] = np.nan
    (_, grades, _), (data, kwargs, _) = heatmap_layers(grading)
    assert np.argwhere(data == 1).tolist() == [[1, 0]]
    assert data.sum() == 1
    assert kwargs["colormap"]["colors"][0][3] == 0
    assert (kwargs["scale"], kwargs["translate"]) == (grades["scale"], grades["translate"])
