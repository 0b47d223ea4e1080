"""Predict biomarkers: the button, and what it asks and says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.biomarkers import TILES, OpenPanel, stop_after_first_batch
from tests.widgets.pressing import PATIENCE_MS, press_and_wait

from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.errors import UnsuitableSlideError
from napari_hmkd.widgets import biomarker_form, biomarker_run
from napari_hmkd.widgets.biomarker_widget import BiomarkerWidget
from napari_hmkd.widgets.notice import text_overlay
from napari_hmkd.widgets.viewing import slide_of
from napari_hmkd.wording import NO_GRADE

pytestmark = pytest.mark.gui


@pytest.mark.slow
def test_numbers_never_stand_without_definition_and_what_they_are_not(
    viewer, open_biomarkers: OpenPanel, qtbot, show_window: Callable[[], None]
) -> None:
    panel = open_biomarkers()
    show_window()
    viewer.window.resize(1200, 760)
    meaning, gallery = panel.results.meaning, panel.results.gallery
    assert press_and_wait(panel, qtbot)
    qtbot.waitUntil(lambda: panel.results.numbers.isVisible())
    assert NO_GRADE in meaning.value
    assert "after the model's temperature" in meaning.value
    label = meaning.native
    assert label.isVisible()
    assert label.height() >= label.heightForWidth(label.width()), "no line of it is cut"
    numbers = panel.results.numbers
    assert label.geometry().bottom() < numbers.geometry().top()
    qtbot.waitUntil(lambda: numbers.verticalScrollBar().maximum() == 0)  # none has to be looked for
    for prediction in panel.run.result.predictions:
        assert prediction.target.definition in numbers.toPlainText()
    assert gallery.viewport().height() >= gallery.visualItemRect(gallery.item(0)).height()
    notice = "random biomarkers; random weights; research use only"
    assert notice in panel.warnings.value
    assert text_overlay(viewer).text.replace("\n", " ") == notice


@pytest.mark.slow
def test_stop_keeps_what_is_encoded_and_the_next_press_goes_on_from_there(
    open_biomarkers: OpenPanel, qtbot, monkeypatch, small_batches: list[SlideBiomarkers]
) -> None:
    panel = open_biomarkers()
    stop_after_first_batch(panel, monkeypatch, panel.stop.native.click)
    assert not press_and_wait(panel, qtbot)
    kept = len(small_batches[-1].extraction.encoded_tiles())  # a batch may be on its way already
    assert 0 < kept < TILES
    assert panel.status.value.startswith(f"Stopped at {kept} of {TILES} tiles")
    assert panel.run.result is None
    assert panel.results.gallery.count() == 0
    assert not panel.save.enabled

    assert press_and_wait(panel, qtbot)
    assert small_batches[-1].extraction.resumed_tiles == kept
    assert panel.status.value.startswith(f"Done: {TILES} patches")
    assert f"{kept} encoded before" in panel.status.value


@pytest.mark.slow
def test_no_tile_is_counted_twice_where_the_window_is_late(
    open_biomarkers: OpenPanel, qtbot, small_batches: list[SlideBiomarkers]
) -> None:
    panel, told = open_biomarkers(), []

    def be_late() -> None:
        """Until the worker, which has told of its plan alone, is ahead."""
        late_ms = 0
        while small_batches[-1].extraction.tried_tiles == 0 and (late_ms := late_ms + 10) < 30_000:
            sleep(0.01)

    panel.run.forgotten.connect(be_late)
    panel.run.progressed.connect(lambda *how_far: told.append(how_far[:2]))
    assert press_and_wait(panel, qtbot)
    assert told[0][0] > 0
    assert told == sorted(told)
    assert told[-1] == (TILES, TILES)


@pytest.mark.slow
def test_a_painted_tissue_layer_is_obeyed(open_biomarkers: OpenPanel, qtbot) -> None:
    panel = open_biomarkers()
    assert press_and_wait(panel, qtbot)
    tissue = panel.tissue.layer_of(panel.form.slide.chosen)
    erased = np.array(tissue.data)
    erased[len(erased) // 3 :] = 0
    tissue.data = erased
    assert press_and_wait(panel, qtbot)
    assert panel.run.result.extraction.plan.tiles.tolist() == [[0, 0], [0, 1], [0, 2]]


@pytest.mark.slow
def test_a_missing_pixel_size_is_asked_for(
    open_biomarkers: OpenPanel, qtbot, without_pixel_size: Path
) -> None:
    panel = open_biomarkers(without_pixel_size)
    assert "has no pixel size" in panel.status.value
    panel.start.native.click()
    assert not panel.run.running
    panel.form.mpp.value = 4.0
    assert press_and_wait(panel, qtbot)
    assert tuple(panel.form.slide.value.scale[:2]) == (4.0, 4.0)


@pytest.mark.slow
def test_a_slide_that_does_not_look_like_he_is_asked_about(
    open_biomarkers: OpenPanel, qtbot, monkeypatch
) -> None:
    plain = biomarker_run.start_biomarkers

    def start(slide, model, encoder, settings, *more) -> SlideBiomarkers:
        if not settings.force:
            raise UnsuitableSlideError("which looks like IHC, brown as it is")
        return plain(slide, model, encoder, settings, *more)

    monkeypatch.setattr(biomarker_run, "start_biomarkers", start)
    panel = open_biomarkers()
    assert not press_and_wait(panel, qtbot)
    assert "looks like IHC" in panel.status.value
    assert not panel.question.native.isHidden()
    assert press_and_wait(panel, qtbot, panel.question.yes)
    assert panel.question.native.isHidden()


def test_without_a_demo_model_it_says_so_and_asks_for_a_file(
    open_biomarkers: OpenPanel, monkeypatch, biomarkers_file: Path
) -> None:
    monkeypatch.setattr(biomarker_form, "_demo_is_here", lambda: False)
    panel = open_biomarkers()
    assert panel.form.missing.native.isHidden()
    panel.form.model.value = None
    assert not panel.form.missing.native.isHidden()
    panel.start.native.click()
    assert not panel.run.running
    assert "choose the file" in panel.status.value
    panel.form.model.value = biomarkers_file
    assert panel.form.missing.native.isHidden()


def test_another_encoder_than_the_models_is_an_error_and_the_button_is_free_again(
    open_biomarkers: OpenPanel, qtbot, other_student_file: Path
) -> None:
    panel = open_biomarkers()
    panel.form.encoder.value = other_student_file
    with qtbot.captureExceptions():
        assert not press_and_wait(panel, qtbot)
    assert "name that encoder's file" in panel.status.value
    assert panel.start.enabled
    assert panel.run.result is None


@pytest.mark.slow
def test_tiles_that_cannot_be_read_are_told_once(open_biomarkers: OpenPanel, qtbot) -> None:
    panel = open_biomarkers(damaged=((1, 1),))
    assert press_and_wait(panel, qtbot)
    assert f"Done: {TILES - 1} patches" in panel.status.value
    said = panel.status.value + panel.warnings.value
    assert said.count("1 tile could not be read") == 1
    assert "biomarkers.json" not in said, "nothing is saved yet"


def test_models_and_device_are_remembered(
    viewer, open_biomarkers: OpenPanel, biomarkers_file: Path, student_file: Path
) -> None:
    panel = open_biomarkers()
    panel.native.parent().title.close_button.click()
    again = BiomarkerWidget(viewer)
    viewer.window.add_dock_widget(again)
    assert again.form.model.value == biomarkers_file
    assert again.form.encoder.value == student_file
    assert again.form.device.value == "cpu"


def test_a_key_presses_the_button(open_biomarkers: OpenPanel, qtbot, press_key) -> None:
    panel = open_biomarkers()
    press_key("B")
    assert panel.run.running
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)
    assert slide_of(panel.run.slide_layer) is panel.run.result.extraction.plan.slide
