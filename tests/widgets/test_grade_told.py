"""The panel says whose the numbers are, of what moment, and what it is at."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtWidgets import QFileDialog
from tests.widgets.conftest import Pair
from tests.widgets.pressing import PATIENCE_MS, press_and_wait
from tests.widgets.test_grade_widget import NOTICE

from napari_hmkd.errors import SlideError
from napari_hmkd.export import write_results
from napari_hmkd.grading import SlideGrading
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import grade_run, saving
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.notice import show_notice, text_overlay
from napari_hmkd.widgets.saving import SAVING, STILL_SAVING
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui


def area_mm2(legend: str) -> float:
    return sum(map(float, re.findall(r"([\d.]+)&nbsp;mm", legend)))


@pytest.fixture
def looked(monkeypatch) -> Event:
    """Set, it lets the next grading go on from its plan to the first tile."""
    plain, looked = SlideGrading.run, Event()

    def run(self: SlideGrading, *place):
        assert looked.wait(30)
        yield from plain(self, *place)

    monkeypatch.setattr(SlideGrading, "run", run)
    return looked


def test_the_legends_areas_are_those_of_the_heatmap_in_the_middle_of_a_run(
    widget: GradeWidget, qtbot, looked: Event
) -> None:
    areas: list[float] = []

    def read_legend(*_: object) -> None:
        areas.append(area_mm2(widget.map.legend.value))
        looked.set()

    widget.run.planned.connect(read_legend)
    widget.run.painted.connect(read_legend)
    assert press_and_wait(widget, qtbot)
    assert 0 == areas[0] < areas[1]


def shown(viewer) -> str:
    return text_overlay(viewer).text.replace("\n", " ") if text_overlay(viewer).visible else ""


@pytest.mark.parametrize(
    ("before", "meanwhile"), [("", NOTICE), ("of other results", "of other results")]
)
def test_a_first_notice_is_read_before_the_slide_is_and_one_of_other_results_until_there_are_own(
    viewer, widget: GradeWidget, qtbot, monkeypatch, before: str, meanwhile: str
) -> None:
    plain, opened, looked = grade_run.start_grading, Event(), Event()

    def start(*arguments: object) -> SlideGrading:
        opened.set()
        assert looked.wait(30)
        return plain(*arguments)

    monkeypatch.setattr(grade_run, "start_grading", start)
    show_notice(viewer, before)
    widget.grade()
    qtbot.waitUntil(opened.is_set, timeout=PATIENCE_MS)
    qtbot.wait(10)
    told = [shown(viewer)]
    looked.set()
    qtbot.waitUntil(lambda: not widget.run.running, timeout=PATIENCE_MS)
    assert [*told, shown(viewer)] == [meanwhile, NOTICE]


@pytest.mark.parametrize(
    ("before", "left"), [("", ""), ("of other results", "of other results"), (NOTICE, NOTICE)]
)
def test_a_first_notice_goes_where_the_slide_is_refused_and_one_of_other_results_stays(
    viewer, widget: GradeWidget, qtbot, monkeypatch, before: str, left: str
) -> None:
    def refuse(*_: object) -> None:
        raise SlideError("no tile of it is tissue")

    monkeypatch.setattr(grade_run, "start_grading", refuse)
    show_notice(viewer, before)
    assert not press_and_wait(widget, qtbot)
    assert shown(viewer) == left


def test_a_first_notice_stays_where_other_results_of_the_model_came_meanwhile(
    viewer, widget: GradeWidget, qtbot, monkeypatch
) -> None:
    opened, drawn = Event(), Event()

    def refuse(*_: object) -> None:
        opened.set()
        assert drawn.wait(30)
        raise SlideError("no tile of it is tissue")

    monkeypatch.setattr(grade_run, "start_grading", refuse)
    widget.grade()
    qtbot.waitUntil(opened.is_set, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: shown(viewer) == NOTICE)
    viewer.add_image(np.zeros((2, 2)), metadata={"napari_hmkd": {"notice": NOTICE}})
    drawn.set()
    qtbot.waitUntil(lambda: not widget.run.running, timeout=PATIENCE_MS)
    assert shown(viewer) == NOTICE


@pytest.mark.slow
def test_results_have_the_name_of_their_slide_where_another_is_chosen(
    viewer, widget: GradeWidget, qtbot, pair: Pair
) -> None:
    assert press_and_wait(widget, qtbot)
    (widget.slide.value,) = add_layers(viewer, read_slides(pair.ihc))
    assert pair.he.name in widget.map.legend.value
    assert pair.he.name in widget.save.tooltip


@pytest.mark.slow
def test_a_legend_does_not_widen_the_panel(
    widget: GradeWidget, qtbot, show_window: Callable[[], None]
) -> None:
    show_window()
    before = widget.native.minimumSizeHint().width()
    assert press_and_wait(widget, qtbot)
    qtbot.wait(100)
    assert widget.native.minimumSizeHint().width() == before


@pytest.fixture
def written(monkeypatch) -> Event:
    """Set, it lets the files of results be written."""
    written = Event()

    def write(*what):
        assert written.wait(30)
        return write_results(*what)

    monkeypatch.setattr(saving, "write_results", write)
    return written


@pytest.mark.slow
def test_saving_is_said_while_it_lasts(
    widget: GradeWidget, qtbot, monkeypatch, written: Event, tmp_path: Path
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    assert press_and_wait(widget, qtbot)
    widget.choose_folder_and_save()
    assert widget.status.value == SAVING
    widget.choose_folder_and_save()
    assert widget.status.value == STILL_SAVING
    written.set()
    qtbot.waitUntil(lambda: widget.status.value.startswith("Saved to"), timeout=PATIENCE_MS)
