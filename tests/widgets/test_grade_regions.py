"""Regions and tissue that are marked, moved, renamed or erased once a slide is graded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.conftest import EXTENT_PX, MPP
from tests.widgets.pressing import press_and_wait

from napari_hmkd.attention_layers import tile_layer
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.region_layers import shapes_of_no_slide
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui
HEIGHT, WIDTH = EXTENT_PX


def mark(widget: GradeWidget, name: str, bottom: float) -> Any:
    """A region over the slide's whole width, down to `bottom` in level-0 px; its layer."""
    widget.region.mark.native.click()
    layer = widget._viewer.layers[-1]
    corners = np.array([(0, 0), (0, WIDTH), (bottom, WIDTH), (bottom, 0)]) - 0.5
    layer.add([corners], shape_type="polygon")
    layer.name = name
    return layer


def saved(widget: GradeWidget, qtbot, out: Path) -> dict[str, Any]:
    with qtbot.waitSignal(widget.saving.ended, timeout=60_000):
        widget.save_results(out)
    (summary,) = out.glob("*/summary.json")
    return json.loads(summary.read_text(encoding="utf-8"))


def test_a_region_that_is_marked_after_grading_is_in_what_is_saved(
    graded: GradeWidget, qtbot, tmp_path: Path
) -> None:
    assert saved(graded, qtbot, tmp_path)["slide_grade"]["grade"] is None
    layer = mark(graded, "invasive tumour", HEIGHT)
    whole = saved(graded, qtbot, tmp_path)
    (region,) = whole["regions"]
    assert region["name"] == whole["slide_grade"]["region"] == "invasive tumour"
    assert region["graded_tissue_mm2"] == pytest.approx(whole["graded_tissue_mm2"], rel=1e-3)
    layer.name = "stroma"
    renamed = saved(graded, qtbot, tmp_path)
    assert renamed["slide_grade"]["grade"] is None
    assert "stroma" in renamed["slide_grade"]["reason"]
    assert renamed["tiles"] == whole["tiles"]


def test_what_is_saved_then_is_what_grading_with_the_region_gives(
    graded: GradeWidget, qtbot, tmp_path: Path
) -> None:
    mark(graded, "tumour", HEIGHT / 3)
    after = saved(graded, qtbot, tmp_path / "after")
    assert press_and_wait(graded, qtbot)
    before = saved(graded, qtbot, tmp_path / "before")
    for entry in ("regions", "slide_grade", "request", "warnings"):
        assert after[entry] == before[entry]


def test_where_regions_chose_the_tiles_another_region_asks_for_grading(
    graded: GradeWidget, qtbot, tmp_path: Path
) -> None:
    layer = mark(graded, "tumour", HEIGHT / 3)
    graded.region.only.value = True
    assert press_and_wait(graded, qtbot)
    before = saved(graded, qtbot, tmp_path)
    assert "Grade HER2" not in graded.status.value
    layer.name = "stroma"
    after = saved(graded, qtbot, tmp_path)
    assert after["regions"] == before["regions"]
    assert "Grade HER2" in graded.status.value


def test_tissue_that_is_erased_after_grading_asks_for_grading(
    graded: GradeWidget, qtbot, tmp_path: Path
) -> None:
    before = saved(graded, qtbot, tmp_path)
    assert "Grade HER2" not in graded.status.value
    layer = graded.tissue.layer_of(graded.slide.chosen)
    layer.data = np.where(np.arange(layer.data.shape[1]) < 40, 0, layer.data)
    after = saved(graded, qtbot, tmp_path)
    assert after["grades"] == before["grades"]
    assert "tissue as it was graded" in graded.status.value
    assert press_and_wait(graded, qtbot)
    assert saved(graded, qtbot, tmp_path)["grades"] != before["grades"]
    assert "Grade HER2" not in graded.status.value


def test_outlines_of_other_panels_are_no_regions(viewer, graded: GradeWidget) -> None:
    """Those of a tile, as in Predict biomarkers and Show attention."""
    grid = graded.run.grading.plan.grid
    add_layers(viewer, [tile_layer(grid, (0, 1), {"model": "demo"})])
    assert graded.region.marked() == ()


def test_shapes_that_may_be_any_slide_s_are_told(
    viewer, graded: GradeWidget, qtbot, tmp_path: Path, pair
) -> None:
    add_layers(viewer, read_slides(pair.ihc))
    corners = np.array([(0, 0), (0, WIDTH), (HEIGHT, WIDTH), (HEIGHT, 0)]) * MPP
    layer = viewer.add_shapes([corners], shape_type="polygon", name="tumour")
    assert press_and_wait(graded, qtbot)
    assert "'tumour' count for none" in graded.notice.value
    assert saved(graded, qtbot, tmp_path)["regions"] == []
    layer.data = []
    assert press_and_wait(graded, qtbot)
    assert "tumour" not in graded.notice.value


def test_nothing_is_told_of_shapes_once_no_slide_is_open(viewer, graded: GradeWidget) -> None:
    viewer.add_shapes([np.array([(0, 0), (0, 9), (9, 9)])], shape_type="polygon")
    viewer.layers.remove(graded.run.slide_layer)
    assert shapes_of_no_slide(viewer) == ""


def test_shapes_of_the_user_stay_regions_when_another_slide_is_opened(
    viewer, graded: GradeWidget, qtbot, tmp_path: Path, pair
) -> None:
    corners = np.array([(0, 0), (0, WIDTH), (HEIGHT, WIDTH), (HEIGHT, 0)]) * MPP
    viewer.add_shapes([corners], shape_type="polygon", name="tumour")
    assert press_and_wait(graded, qtbot)
    before = saved(graded, qtbot, tmp_path)
    assert before["slide_grade"]["region"] == "tumour"
    add_layers(viewer, read_slides(pair.ihc))
    assert saved(graded, qtbot, tmp_path)["regions"] == before["regions"]
