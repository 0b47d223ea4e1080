"""The tissue mask as a layer to paint in, which grading obeys."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from PIL import Image
from qtpy.QtCore import QTimer
from tests.widgets.pressing import PATIENCE_MS, one_tile_at_a_time

from napari_hmkd.errors import SlideReadError
from napari_hmkd.grading import SlideGrading
from napari_hmkd.reader import read_slides
from napari_hmkd.slide import find_tissue, open_slide
from napari_hmkd.widgets import grade_run, tissue_run
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.viewing import add_layers, slide_of

pytestmark = pytest.mark.gui
REACH = 20  # of the brush, px of the mask


def wait_for(run, press, qtbot) -> list[object]:
    """Press a button and wait until its worker has ended."""
    ended: list[object] = []
    run.ended.connect(lambda *values: ended.append(values))
    press.native.click()
    qtbot.waitUntil(lambda: bool(ended), timeout=PATIENCE_MS)
    return ended


def find(widget: GradeWidget, qtbot):
    wait_for(widget.tissue, widget.find_tissue, qtbot)
    return widget.tissue.layer_of(widget.slide.chosen)


def grade(widget: GradeWidget, qtbot):
    wait_for(widget.run, widget.start, qtbot)
    return widget.run.grading


def erase_right_half(layer) -> None:
    """As the user does it, with napari's own brush."""
    height, width = layer.data.shape
    layer.selected_label, layer.brush_size = 0, 2 * REACH
    for y in range(0, height + REACH, REACH):
        for x in range(width // 2 + REACH, width + REACH, REACH):
            layer.paint((y, x), 0)
    assert not layer.data[:, width // 2 + REACH :].any()
    assert layer.data[:, : width // 2].any()


def test_the_layer_lies_over_the_slide_at_true_scale(viewer, widget, qtbot, pair) -> None:
    layer = find(widget, qtbot)
    with open_slide(pair.he) as slide:
        expected = find_tissue(slide)
    np.testing.assert_array_equal(layer.data != 0, expected.mask)
    assert expected.mask.any()
    assert list(viewer.layers) == [widget.slide.value, layer]
    assert viewer.layers.selection.active is layer
    slide_layer, size = widget.slide.value, widget.slide.chosen.size
    for corner, position in [((-0.5, -0.5), (0, 0)), (np.array(layer.data.shape) - 0.5, size)]:
        on_slide = np.asarray(slide_layer.world_to_data(layer.data_to_world(corner))) + 0.5
        expected_px = getattr(position, "height", 0), getattr(position, "width", 0)
        np.testing.assert_allclose(on_slide, expected_px, atol=1e-6)
    assert "mm2 of tissue" in widget.status.value


def test_the_window_lives_while_tissue_is_looked_for(
    widget: GradeWidget, qtbot, monkeypatch
) -> None:
    turned = threading.Event()
    threads: list[bool] = []

    def wait_for_the_window(slide):
        threads.append(threading.current_thread() is threading.main_thread())
        assert turned.wait(30)
        return find_tissue(slide)

    monkeypatch.setattr(tissue_run, "tissue_found", wait_for_the_window)
    widget.find_tissue.native.click()
    assert not widget.start.enabled
    assert not widget.find_tissue.enabled
    widget.grade()
    assert not widget.run.running
    QTimer.singleShot(20, turned.set)
    qtbot.waitUntil(lambda: not widget.tissue.running, timeout=PATIENCE_MS)
    assert threads == [False]
    assert widget.start.enabled


def test_what_is_erased_is_not_graded(widget: GradeWidget, qtbot, tmp_path: Path) -> None:
    layer = find(widget, qtbot)
    erase_right_half(layer)
    kept = layer.data != 0
    plan = grade(widget, qtbot).plan
    np.testing.assert_array_equal(plan.tissue.mask, kept)
    middle_px = plan.slide.size.width / 2 + REACH * plan.tissue.downsample[1]
    assert len(plan.tiles) > 0
    assert all(plan.grid.origins(tile)[0][1] < middle_px for tile in plan.tiles)
    assert any(plan.grid.origins(tile)[0][1] >= middle_px for tile in plan.grid.tiles().tolist()), (
        "there were tiles to leave out"
    )

    widget.save_results(tmp_path)
    qtbot.waitUntil(lambda: widget.status.value.startswith("Saved"), timeout=PATIENCE_MS)
    folder = tmp_path / "he.ome.tif"
    np.testing.assert_array_equal(np.array(Image.open(folder / "tissue.png")) > 0, kept)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["tissue"]["edited"] is True
    assert summary["tissue"]["mpp"] == pytest.approx(plan.tissue.mpp)


def test_any_label_but_0_is_tissue(widget: GradeWidget, qtbot) -> None:
    layer = find(widget, qtbot)
    layer.data = np.where(layer.data, np.uint8(7), np.uint8(0))
    assert grade(widget, qtbot).plan.tissue.edited is False
    layer.data = np.full_like(layer.data, 3)
    plan = grade(widget, qtbot).plan
    assert plan.tissue.edited
    assert len(plan.tiles) == plan.tissue_fraction.size


def test_grading_shows_the_tissue_that_it_found(viewer, widget: GradeWidget, qtbot) -> None:
    grading = grade(widget, qtbot)
    layer = widget.tissue.layer_of(widget.slide.chosen)
    np.testing.assert_array_equal(layer.data != 0, grading.plan.tissue.mask)
    assert list(viewer.layers) == [widget.slide.value, layer, *widget.run.layers]
    assert viewer.layers.selection.active is widget.run.heatmap_layer


def test_the_first_grades_are_painted_before_the_tissue(widget: GradeWidget, qtbot) -> None:
    def look() -> None:
        painted = np.isfinite(widget.run.heatmap_layer.data).any()
        seen.append((painted, widget.tissue.layer_of(widget.slide.chosen) is None))

    seen: list[tuple[bool, bool]] = []
    widget.run.painted.connect(look)
    grade(widget, qtbot)
    assert seen == [(True, True)]


def test_without_any_grade_the_tissue_is_shown_at_the_end(
    widget: GradeWidget, qtbot, monkeypatch
) -> None:
    monkeypatch.setattr(SlideGrading, "run", lambda *_: iter(()))
    grading = grade(widget, qtbot)
    assert not grading.heatmap.graded.any()
    assert widget.tissue.layer_of(widget.slide.chosen) is not None


@pytest.mark.slow
def test_a_stopped_run_starts_anew_with_other_tissue_and_goes_on_with_the_same(
    widget: GradeWidget, qtbot, monkeypatch, stop_early
) -> None:
    one_tile_at_a_time(monkeypatch)
    stop_early(widget)
    first = grade(widget, qtbot)
    assert len(first.heatmap.remaining) > 0
    layer = widget.tissue.layer_of(widget.slide.chosen)
    painted = layer.data.copy()
    layer.data = np.zeros_like(painted)
    layer.data = painted
    stop_early(widget)
    assert grade(widget, qtbot) is first
    assert len(first.heatmap.remaining) > 0

    erase_right_half(layer)
    second = grade(widget, qtbot)
    assert second is not first
    assert len(second.plan.tiles) < len(first.plan.tiles)
    assert len(second.heatmap.remaining) == 0
    graded = np.argwhere(second.heatmap.graded)
    np.testing.assert_array_equal(graded, second.plan.tiles)


@pytest.mark.slow
def test_without_its_layer_tissue_is_found_again(
    viewer, widget: GradeWidget, qtbot, monkeypatch
) -> None:
    erase_right_half(find(widget, qtbot))
    edited = grade(widget, qtbot)
    viewer.layers.remove(widget.tissue.layer_of(widget.slide.chosen))
    given: list[object] = []
    plain = grade_run.start_grading
    monkeypatch.setattr(grade_run, "start_grading", lambda *a: given.append(a[3]) or plain(*a))
    anew = grade(widget, qtbot)
    assert given == [None]
    assert not anew.plan.tissue.edited
    assert anew.plan.tissue.mask.sum() > edited.plan.tissue.mask.sum()
    assert widget.tissue.layer_of(widget.slide.chosen) in viewer.layers


@pytest.mark.slow
def test_pressed_again_the_button_brings_back_what_is_found(widget: GradeWidget, qtbot) -> None:
    layer = find(widget, qtbot)
    found = layer.data.copy()
    erase_right_half(layer)
    assert find(widget, qtbot) is layer
    np.testing.assert_array_equal(layer.data, found)


def test_each_slide_has_tissue_of_its_own(viewer, widget: GradeWidget, qtbot, pair) -> None:
    erase_right_half(find(widget, qtbot))
    (other,) = add_layers(viewer, read_slides(pair.ihc))
    assert widget.tissue.mask_of(slide_of(other)) is None
    assert widget.tissue.mask_of(widget.slide.chosen).edited


def test_a_restated_pixel_size_takes_the_painted_tissue_along(
    viewer, qtbot, without_pixel_size: Path
) -> None:
    add_layers(viewer, read_slides(without_pixel_size))
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.mpp.value = 2.0
    layer = find(widget, qtbot)
    layer.data[:, :50] = 1
    painted = layer.data.copy()
    widget.mpp.value = 4.0
    slide = widget.mpp.require_slide()
    mask = widget.tissue.mask_of(slide)
    np.testing.assert_array_equal(mask.mask, painted != 0)
    assert mask.mpp == pytest.approx(np.array(mask.downsample) * 4.0)
    assert widget.tissue.layer_of(slide) is layer
    corner = layer.data_to_world(np.array(layer.data.shape) - 0.5)
    on_slide = np.asarray(widget.slide.value.world_to_data(corner)) + 0.5
    np.testing.assert_allclose(on_slide, (slide.size.height, slide.size.width), atol=1e-6)


def test_a_failed_search_is_said_and_nothing_is_drawn(
    viewer, widget: GradeWidget, qtbot, monkeypatch
) -> None:
    def broken(_slide):
        raise SlideReadError("the disk went away")

    monkeypatch.setattr(tissue_run, "tissue_found", broken)
    with qtbot.captureExceptions():
        assert find(widget, qtbot) is None
    assert "the disk went away" in widget.status.value
    assert len(viewer.layers) == 1
    assert widget.find_tissue.enabled


def test_a_slide_that_is_removed_meanwhile_gets_no_tissue(
    viewer, widget: GradeWidget, qtbot, monkeypatch
) -> None:
    removed = threading.Event()
    monkeypatch.setattr(
        tissue_run, "tissue_found", lambda slide: removed.wait(30) and find_tissue(slide)
    )
    widget.find_tissue.native.click()
    viewer.layers.clear()
    removed.set()
    qtbot.waitUntil(lambda: not widget.tissue.running, timeout=PATIENCE_MS)
    assert len(viewer.layers) == 0
    assert "removed" in widget.status.value


def test_no_runtime_error_reaches_the_worker_which_would_swallow_it(
    widget: GradeWidget, qtbot, monkeypatch
) -> None:
    def broken(_slide):
        raise RuntimeError("no memory for it")

    monkeypatch.setattr(tissue_run, "tissue_found", broken)
    with qtbot.captureExceptions():
        assert find(widget, qtbot) is None
    assert "no memory for it" in widget.status.value


def test_what_the_first_tissue_layer_needs_is_loaded_beside_the_window(
    viewer, qtbot, monkeypatch
) -> None:
    loaded: list[tuple[str, bool]] = []

    def load(name: str) -> None:
        loaded.append((name, threading.current_thread() is threading.main_thread()))

    monkeypatch.setattr(tissue_run, "import_module", load)
    tissue_run.TissueRun(viewer)
    qtbot.waitUntil(lambda: bool(loaded))
    assert loaded == [("pandas", False)]
