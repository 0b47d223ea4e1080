"""Grading follows the view, and keeps inside what the user has marked."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.pressing import PATIENCE_MS, one_tile_at_a_time, press_and_wait

from napari_hmkd.grading import SlideGrading
from napari_hmkd.regions import INVASIVE_TUMOUR
from napari_hmkd.widgets.grade_run import GradeRun
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.viewing import camera, slide_of, visible_region

pytestmark = pytest.mark.gui
CORNERS_PX = ((256, 256), (1100, 1600))  # of two tiles far from each other


def look_at(viewer, widget: GradeWidget, place_px: tuple[int, int]) -> None:
    mpp = slide_of(widget.slide.value).mpp
    camera(viewer).center = (place_px[0] * mpp[0], place_px[1] * mpp[1])


@pytest.fixture
def zoomed_in(viewer, widget: GradeWidget, show_window, qtbot) -> None:
    show_window()
    camera(viewer).zoom = 4
    look_at(viewer, widget, CORNERS_PX[0])
    qtbot.waitUntil(lambda: visible_region(viewer, widget.slide.value)[1].height < 600)
    qtbot.wait(300)


def graded(widget: GradeWidget) -> set[tuple[int, int]]:
    return set(map(tuple, np.argwhere(widget.run.grading.heatmap.graded).tolist()))


def in_view(viewer, widget: GradeWidget) -> set[tuple[int, int]]:
    plan = widget.run.grading.plan
    _, region = visible_region(viewer, widget.slide.value)
    return set(map(tuple, plan.tiles[plan.grid.meets(plan.tiles, region)].tolist()))


@pytest.mark.slow
def test_only_what_is_in_view_is_graded_and_the_rest_when_it_is_looked_at(
    viewer, widget: GradeWidget, zoomed_in, qtbot
) -> None:
    widget.follow.value = True
    assert not press_and_wait(widget, qtbot)
    first = graded(widget)
    assert first == in_view(viewer, widget)
    assert 0 < len(first) < len(widget.run.grading.plan.tiles)
    assert widget.status.value.startswith("What is in view is graded")

    look_at(viewer, widget, CORNERS_PX[1])
    qtbot.waitUntil(lambda: len(graded(widget)) > len(first), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: not widget.run.running, timeout=PATIENCE_MS)
    assert graded(widget) == first | in_view(viewer, widget)

    widget.follow.value = False
    qtbot.wait(300)
    assert not widget.run.running, "the rest waits for the button"
    assert press_and_wait(widget, qtbot)
    assert graded(widget) == set(map(tuple, widget.run.grading.plan.tiles.tolist()))


@pytest.mark.slow
def test_a_view_that_moves_in_the_middle_of_a_run_comes_next(
    viewer, widget: GradeWidget, zoomed_in, qtbot, monkeypatch
) -> None:
    one_tile_at_a_time(monkeypatch)
    looked, order = Event(), []
    plain_look, plain_run = GradeRun.look, SlideGrading.run

    def look(*given) -> None:
        plain_look(*given)
        looked.set()

    def run(grading: SlideGrading, queue):
        for batch in plain_run(grading, queue):
            order.extend(map(tuple, batch.tiles.tolist()))
            yield batch
            assert looked.wait(30), "nobody told of the view"

    monkeypatch.setattr(GradeRun, "look", look)
    monkeypatch.setattr(SlideGrading, "run", run)
    widget.run.progressed.connect(
        lambda tried, *_: look_at(viewer, widget, CORNERS_PX[1]) if tried == 1 else None
    )
    assert press_and_wait(widget, qtbot)
    plan = widget.run.grading.plan
    nearest = plan.grid.nearest_first(plan.tiles, *visible_region(viewer, widget.slide.value))[0]
    under_way = 2 + widget.slide.chosen.reader.threads.count  # when the view moved
    assert order.index(tuple(nearest.tolist())) <= 1 + under_way < len(order) - 2


@pytest.mark.slow
def test_stop_ends_the_following(viewer, widget: GradeWidget, zoomed_in, qtbot) -> None:
    widget.follow.value = True
    press_and_wait(widget, qtbot)
    assert widget.stop.enabled
    widget.stop.native.click()
    before = graded(widget)
    look_at(viewer, widget, CORNERS_PX[1])
    qtbot.wait(500)
    assert not widget.run.running
    assert graded(widget) == before


def test_a_marked_region_is_graded_alone_and_named_by_its_layer(
    viewer, widget: GradeWidget, qtbot
) -> None:
    widget.region.mark.native.click()
    layer = viewer.layers.selection.active
    assert layer.name == "invasive tumour"
    assert str(layer.mode) == "add_polygon"
    box = np.array([(10, 10), (10, 500), (500, 500), (500, 10)])  # within the first tile
    layer.add_polygons(box)
    widget.region.only.value = True
    assert press_and_wait(widget, qtbot)
    grading = widget.run.grading
    grid = grading.plan.grid
    corners = (box + 0.5) / grid.step_px  # napari's (0, 0) is the middle of a pixel
    (planned,) = grading.plan.regions
    assert planned.region.name == INVASIVE_TUMOUR
    assert grading.plan.tiles.tolist() == [[0, 0]]
    assert corners.max() < 1
    inside = planned.tissue_fraction[0, 0]
    assert 0 < inside <= np.ptp(corners[:, 0]) * np.ptp(corners[:, 1]) + 0.01


def test_only_inside_regions_without_one_says_so(widget: GradeWidget, qtbot) -> None:
    widget.region.only.value = True
    with qtbot.captureExceptions():
        assert not press_and_wait(widget, qtbot)
    assert "none is marked" in widget.status.value


def test_the_map_shows_what_is_chosen_and_the_status_bar_the_tile(
    viewer, widget: GradeWidget, qtbot
) -> None:
    assert press_and_wait(widget, qtbot)
    layer, heatmap = widget.run.heatmap_layer, widget.run.grading.heatmap
    shape = layer.data.shape
    extent = layer.extent.world.copy()
    widget.map.mode.value = "probability of 3+"
    np.testing.assert_array_equal(layer.data, heatmap.probabilities[..., 3])
    assert layer.colormap.name.startswith("viridis")
    assert layer.contrast_limits == pytest.approx((0, 1), abs=0.002)
    assert "probability of 3+" in widget.map.legend.value
    widget.map.mode.value = "expected grade, finer"
    assert layer.data.shape == (2 * shape[0], 2 * shape[1])
    step = np.array(widget.run.grading.plan.grid.tile_um)
    np.testing.assert_allclose(layer.extent.world - extent, [[-step / 4] * 2, [step / 4] * 2])
    widget.map.mode.value = "expected grade"
    np.testing.assert_allclose(layer.extent.world, extent)
    assert "mm" in widget.map.legend.value
    tile = tuple(np.argwhere(heatmap.graded)[0].tolist())
    status = layer.get_status(layer.data_to_world(tile), world=True)
    assert status["value"] == heatmap.describe(tile)
    assert status["coordinates"].endswith(status["value"])
