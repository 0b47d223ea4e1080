"""A slide is examined once it is chosen, so that the click on Grade HER2 need not wait for it."""

from __future__ import annotations

import gc
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import ref

import pytest
import torch

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtCore import Qt
from tests.watched_looks import WatchedLook
from tests.widgets.pressing import PATIENCE_MS, press_and_wait

from napari_hmkd.errors import DeviceError
from napari_hmkd.grading import OpenModel
from napari_hmkd.planning import GradeSettings
from napari_hmkd.reader import read_slides
from napari_hmkd.slide import find_tissue
from napari_hmkd.widgets import look_ahead
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.viewing import add_layers, slide_of

pytestmark = pytest.mark.gui


@pytest.fixture
def held(looks: WatchedLook) -> WatchedLook:
    """Every look waits, from before there is a panel."""
    looks.go_on.clear()
    return looks


@pytest.fixture
def failing(looks: WatchedLook) -> WatchedLook:
    """Every look fails, from before there is a panel."""
    looks.failure = "the disk went away"
    return looks


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What threads end with, which napari would show."""
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    return errors


def rest(widget: GradeWidget, qtbot) -> None:
    """Wait until nothing is looked at any more."""
    qtbot.waitUntil(lambda: not widget.ahead.under_way, timeout=PATIENCE_MS)


@pytest.mark.slow
def test_the_chosen_slide_is_examined_beside_the_window_and_not_again_at_the_click(
    looks: WatchedLook, widget: GradeWidget, qtbot
) -> None:
    rest(widget, qtbot)
    assert (looks.seen, looks.in_window) == (["he.ome.tif"], [False])
    assert press_and_wait(widget, qtbot)
    assert looks.seen == ["he.ome.tif"]
    assert widget.run.grading.heatmap.graded.any()


@pytest.mark.slow
def test_a_click_meanwhile_waits_for_what_is_left(
    held: WatchedLook, widget: GradeWidget, qtbot
) -> None:
    qtbot.waitUntil(lambda: bool(held.seen), timeout=PATIENCE_MS)
    widget.start.native.click()
    qtbot.wait(200)
    assert widget.run.running
    assert not widget.run.has_plan
    held.go_on.set()
    qtbot.waitUntil(lambda: not widget.run.running, timeout=PATIENCE_MS)
    assert widget.run.grading.heatmap.graded.any()
    assert held.seen == ["he.ome.tif"]


@pytest.mark.slow
def test_of_slides_that_are_chosen_in_turn_the_last_comes_next(
    held: WatchedLook, viewer, widget: GradeWidget, qtbot, pair, tmp_path: Path
) -> None:
    qtbot.waitUntil(lambda: bool(held.seen), timeout=PATIENCE_MS)
    for name in ("passed over.tif", "last.tif"):
        shutil.copy(pair.he, tmp_path / name)
        (widget.slide.value,) = add_layers(viewer, read_slides(tmp_path / name))
        qtbot.wait(200)
    assert held.seen == ["he.ome.tif"], "one at a time"
    held.go_on.set()
    rest(widget, qtbot)
    assert held.seen == ["he.ome.tif", "last.tif"]


@pytest.mark.slow
def test_a_slide_that_cannot_be_read_says_so_at_the_click_and_not_before(
    failing: WatchedLook, reported: list[object], widget: GradeWidget, qtbot
) -> None:
    said = widget.status.value
    rest(widget, qtbot)
    assert (failing.seen, reported, widget.status.value) == (["he.ome.tif"], [], said)
    assert not press_and_wait(widget, qtbot)
    assert "the disk went away" in widget.status.value
    failing.failure = ""
    assert press_and_wait(widget, qtbot), "nothing of the failure is kept"


@pytest.mark.parametrize("gone", ["layer", "panel", "window"])
def test_what_is_closed_in_the_middle_ends_in_silence_and_lets_the_slide_go(
    held: WatchedLook, viewer, widget: GradeWidget, qtbot, gone: str
) -> None:
    qtbot.waitUntil(lambda: bool(held.seen), timeout=PATIENCE_MS)
    (thread,) = (one for one in threading.enumerate() if one.name == "look-ahead")
    assert thread.daemon, "Python does not wait for it"
    reader = ref(widget.slide.chosen.reader)
    with qtbot.captureExceptions() as raised:
        if gone == "panel":
            widget.native.parent().title.close_button.click()
        elif gone == "window":
            viewer.close()
        if gone != "window":
            viewer.layers.clear()
        held.go_on.set()
        qtbot.waitUntil(lambda: not thread.is_alive(), timeout=PATIENCE_MS)
        qtbot.wait(50)
    assert raised == []
    if gone != "window":  # napari's fixture keeps that one
        qtbot.waitUntil(lambda: gc.collect() >= 0 and reader() is None, timeout=PATIENCE_MS)
    assert held.seen == ["he.ome.tif"]


def test_a_slide_that_nobody_is_about_to_grade_is_left_alone(
    looks: WatchedLook, viewer, qtbot, pair, without_pixel_size: Path
) -> None:
    hidden, _ = add_layers(viewer, read_slides(pair.he) + read_slides(without_pixel_size))
    hidden.visible = False
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget)
    for layer in viewer.layers:
        widget.slide.value = layer
        rest(widget, qtbot)
    widget.native.parent().title.close_button.click()
    hidden.visible = True
    widget.slide.value = hidden
    rest(widget, qtbot)
    assert looks.seen == []


@pytest.mark.slow
def test_a_slide_is_examined_once_its_pixel_size_is_stated(
    looks: WatchedLook, viewer, qtbot, without_pixel_size: Path
) -> None:
    add_layers(viewer, read_slides(without_pixel_size))
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget)
    for value, seen in ((0.01, []), (0.5, [without_pixel_size.name])):
        widget.mpp.value = value
        qtbot.keyClick(widget.mpp.native, Qt.Key.Key_Return)
        rest(widget, qtbot)
        assert looks.seen == seen
    assert "0.5 um/px, from user" in widget.status.value
    assert press_and_wait(widget, qtbot)
    assert looks.seen == [without_pixel_size.name], "not again at the click"


def test_a_hidden_slide_is_examined_once_it_is_shown(
    looks: WatchedLook, viewer, qtbot, pair
) -> None:
    (layer,) = add_layers(viewer, read_slides(pair.he))
    layer.visible = False
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget)
    rest(widget, qtbot)
    assert looks.seen == []
    layer.visible = True
    rest(widget, qtbot)
    assert looks.seen == ["he.ome.tif"]


def test_a_slide_with_a_tissue_layer_is_left_alone_as_that_is_what_counts(
    looks: WatchedLook,
    viewer,
    widget: GradeWidget,
    qtbot,
    paint_slide: Callable[..., Path],
    tmp_path,
) -> None:
    painted = paint_slide(tmp_path / "painted.tif", [[0, 1, 2]])
    (layer,) = add_layers(viewer, read_slides(painted))
    widget.tissue.show(layer, find_tissue(slide_of(layer)))
    widget.slide.value = layer
    rest(widget, qtbot)
    assert "painted.tif" not in looks.seen


def test_a_gpu_is_made_ready_for_the_model_meanwhile_once_a_session(
    looks: WatchedLook, viewer, qtbot, pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, str, bool]] = []

    def make_ready(model: OpenModel, settings: GradeSettings) -> None:
        in_window = threading.current_thread() is threading.main_thread()
        made.append((model.card.name, settings.device, in_window))
        raise DeviceError("the network failed on cuda:0: out of memory")

    monkeypatch.setattr(look_ahead, "_made_ready", set())
    monkeypatch.setattr(look_ahead, "choose_device", lambda _: torch.device("cuda:0"))
    monkeypatch.setattr(look_ahead, "make_ready", make_ready)
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget)
    with qtbot.captureExceptions() as raised:
        for name in ("first.tif", "second.tif"):
            shutil.copy(pair.he, tmp_path / name)
            (widget.slide.value,) = add_layers(viewer, read_slides(tmp_path / name))
            rest(widget, qtbot)
            qtbot.waitUntil(lambda: bool(made), timeout=PATIENCE_MS)
    assert looks.seen == ["first.tif", "second.tif"]
    assert made == [("demo student", "auto", False)]
    assert raised == []


def test_where_the_cpu_grades_or_no_model_is_chosen_nothing_is_made_ready(
    looks: WatchedLook, widget: GradeWidget, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(look_ahead, "_made_ready", set())
    monkeypatch.setattr(look_ahead, "make_ready", lambda *asked: made.append(asked))
    rest(widget, qtbot)
    assert looks.seen == ["he.ome.tif"]
    monkeypatch.setattr(look_ahead, "choose_device", lambda _: torch.device("cuda:0"))
    widget.model.listed.value = "from a file ..."  # of which none is chosen
    widget.ahead.began.emit()
    assert made == []
