"""What the buttons of a panel's title bar do to what is under way."""

from __future__ import annotations

import gc

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QEvent
from tests.widgets.pressing import PATIENCE_MS, one_tile_at_a_time, press_and_wait

from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import preferences
from napari_hmkd.widgets.attention_widget import AttentionWidget
from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.finished_models import finished_students
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.side_by_side import side_by_side
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui


def click_x(panel: GradeWidget | AttentionWidget) -> None:
    panel.native.parent().title.close_button.click()


def test_the_x_ends_the_run_and_leaves_its_results(
    viewer, qtbot, monkeypatch, pair, stop_early
) -> None:
    one_tile_at_a_time(monkeypatch)
    add_layers(viewer, read_slides(pair.he))
    dock, panel = viewer.window.add_plugin_dock_widget("napari-hmkd", "Grade HER2")
    run = panel.run
    stop_early(panel, dock.title.close_button.click)
    panel.start.native.click()
    del panel  # nobody knows it any more but those who wait for its run
    qtbot.waitUntil(lambda: run.grading is not None and not run.running, timeout=PATIENCE_MS)
    gc.collect()
    heatmap = run.grading.heatmap
    assert heatmap.graded.any()
    assert len(heatmap.remaining) > 0
    assert run.heatmap_layer in viewer.layers
    np.testing.assert_array_equal(run.heatmap_layer.data, heatmap.expected_grade)

    _, again = viewer.window.add_plugin_dock_widget("napari-hmkd", "Grade HER2")
    told: list[tuple[int, int, float]] = []
    again.run.progressed.connect(lambda *far: told.append(far))
    assert press_and_wait(again, qtbot)
    grading, (tried, planned, tiles_per_second) = again.run.grading, told[-1]
    assert grading.resumed_tiles == int(heatmap.graded_tiles.sum())
    assert tried == planned
    own = tried - grading.resumed_tiles
    assert tiles_per_second == pytest.approx(own / grading.seconds), "those of before took no time"


@pytest.mark.slow
def test_a_panel_that_is_hidden_goes_on_and_works_when_it_is_shown_again(
    viewer, widget: GradeWidget, qtbot, monkeypatch, stop_early, show_window
) -> None:
    show_window()
    one_tile_at_a_time(monkeypatch)
    dock = widget.native.parent()
    stop_early(widget, dock.title.hide_button.click)
    assert press_and_wait(widget, qtbot), "it went on, unseen"
    assert dock.isHidden()
    dock.show()
    assert widget.start.enabled
    assert press_and_wait(widget, qtbot)


def test_a_panel_that_was_closed_hears_no_keys_until_it_is_docked_again(
    viewer, widget: GradeWidget, qtbot, press_key
) -> None:
    click_x(widget)
    press_key("G")
    assert not widget.run.running
    viewer.window.add_dock_widget(widget, name="again")
    press_key("G")
    assert widget.run.running
    qtbot.waitUntil(lambda: not widget.run.running, timeout=PATIENCE_MS)
    assert len(widget.run.grading.heatmap.remaining) == 0


def test_the_x_ends_the_following_of_the_view_and_writes_down_what_was_chosen(
    viewer, widget: GradeWidget, qtbot
) -> None:
    widget.map.opacity.value = 0.125
    widget.follow.value = True
    press_and_wait(widget, qtbot)
    click_x(widget)
    assert not widget._following.on
    assert preferences.remembered("grade")["opacity"] == 0.125


def test_the_x_ends_the_following_of_the_cursor(viewer, pair) -> None:
    add_layers(viewer, read_slides(pair.he))
    panel = AttentionWidget(viewer)
    viewer.window.add_dock_widget(panel)
    panel.follow.value = True
    assert len(viewer.mouse_move_callbacks) == 1
    click_x(panel)
    assert viewer.mouse_move_callbacks == []
    assert not panel.follow.value


@pytest.mark.parametrize(
    "name",
    ["Grade HER2", "Show attention", "Predict biomarkers", "Align IHC", "Reader study"],
)
def test_a_panel_that_qt_has_deleted_hears_of_nothing_any_more(viewer, pair, name: str) -> None:
    add_layers(viewer, read_slides(pair.ihc) + read_slides(pair.he))
    dock, panel = viewer.window.add_plugin_dock_widget("napari-hmkd", name)
    dock.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not isalive(panel.native)
    side_by_side(viewer).begin(viewer.layers["ihc.ome.tif"])
    for signal in (blinding.changed, finished_students.changed):
        signal.emit()
    viewer.layers.clear()
