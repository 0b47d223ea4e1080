"""Slides that do not look like H&E are asked about, in the panel."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.pressing import press_and_wait

from napari_hmkd.errors import UnsuitableSlideError
from napari_hmkd.grading import SlideGrading
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import grade_run
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui


@pytest.fixture
def doubtful(monkeypatch) -> list[bool]:
    """Every slide is doubted; whether each try was by force."""
    forced: list[bool] = []
    plain = grade_run.start_grading

    def start(slide, model, settings, *more) -> SlideGrading:
        forced.append(settings.force)
        if not settings.force:
            raise UnsuitableSlideError("which looks like IHC, brown as it is")
        return plain(slide, model, replace(settings, batch_size=1), *more)

    monkeypatch.setattr(grade_run, "start_grading", start)
    return forced


def test_an_unsuitable_slide_is_asked_about_and_graded_if_the_user_insists(
    widget: GradeWidget, qtbot, stop_early, doubtful: list[bool]
) -> None:
    assert not press_and_wait(widget, qtbot)
    assert "looks like IHC" in widget.status.value
    assert not widget.question.native.isHidden()
    assert "all the same?" in widget.question.text.value
    assert widget.run.grading is None

    stop_early(widget)
    assert not press_and_wait(widget, qtbot, widget.question.yes)
    assert widget.question.native.isHidden()
    grading = widget.run.grading
    assert len(grading.heatmap.remaining) > 0
    # It is not asked again, and goes on.
    assert press_and_wait(widget, qtbot)
    assert widget.run.grading is grading
    assert doubtful == [False, True]


def test_an_unsuitable_slide_that_is_left_says_why_and_is_doubted_again(
    widget: GradeWidget, qtbot, doubtful: list[bool]
) -> None:
    assert not press_and_wait(widget, qtbot)
    widget.question.no.native.click()
    assert widget.question.native.isHidden()
    assert "looks like IHC" in widget.status.value
    assert not press_and_wait(widget, qtbot)
    assert doubtful == [False, False]


def test_a_fluorescence_scan_is_asked_about(viewer, qtbot, shared_data) -> None:
    add_layers(viewer, read_slides(shared_data / "slides" / "fluorescence.ndpi"))
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget)
    assert not press_and_wait(widget, qtbot)
    assert "fluorescence" in widget.status.value
    assert not widget.question.native.isHidden()
    assert len(viewer.layers) == 1


@pytest.mark.slow
def test_to_insist_on_one_slide_is_not_to_insist_on_another(
    viewer, widget: GradeWidget, qtbot, pair, doubtful: list[bool]
) -> None:
    assert not press_and_wait(widget, qtbot)
    assert press_and_wait(widget, qtbot, widget.question.yes)
    (other,) = add_layers(viewer, read_slides(pair.ihc))
    widget.slide.value = other
    assert not press_and_wait(widget, qtbot)
    assert not widget.question.native.isHidden()
    assert doubtful == [False, True, False]
    widget.slide.value = viewer.layers[0]
    assert widget.question.native.isHidden(), "the question was about the other slide"
