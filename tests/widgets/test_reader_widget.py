"""A reader scores before the model's result is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.test_grade_widget import press_and_wait

from napari_hmkd.study.scores import read_scores
from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.reader_widget import ReaderWidget

pytestmark = pytest.mark.gui


@pytest.fixture
def reader(viewer, widget: GradeWidget, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(blinding, "_scored", set())
    panel = ReaderWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Reader study")
    panel.hide_results.value = True
    panel.reader.value = "Dr. A"
    panel.file.value = tmp_path / "scores.csv"
    yield panel
    blinding.switch(False)


def results(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers if "HER2 grade" in layer.name]


def test_the_result_is_hidden_until_the_score_is_noted(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot, tmp_path: Path
) -> None:
    assert press_and_wait(widget, qtbot)
    assert results(viewer) == []
    assert widget.legend.value.startswith("hidden")
    assert not widget.save.enabled
    reader.score.value = "2+"
    reader.enter.native.click()
    assert len(results(viewer)) == 1
    assert "mm" in widget.legend.value
    assert widget.save.enabled
    (score,) = read_scores(tmp_path / "scores.csv").scores
    assert (score.slide, score.reader, score.grade) == ("he.ome.tif", "Dr. A", 2)


def test_a_result_that_is_shown_goes_when_hiding_begins(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot
) -> None:
    reader.hide_results.value = False
    assert press_and_wait(widget, qtbot)
    assert len(results(viewer)) == 1
    reader.hide_results.value = True
    assert results(viewer) == []
    reader.hide_results.value = False
    assert len(results(viewer)) == 1


def test_another_reader_has_not_scored(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot
) -> None:
    assert press_and_wait(widget, qtbot)
    reader.score.value = "2+"
    reader.enter.native.click()
    assert len(results(viewer)) == 1
    reader.reader.value = "Dr. B"
    assert results(viewer) == []
    reader.reader.value = "Dr. A"
    assert len(results(viewer)) == 1


@pytest.mark.parametrize("missing", ["reader", "file", "score"])
def test_what_is_missing_is_asked_for(
    viewer, widget: GradeWidget, reader: ReaderWidget, tmp_path: Path, missing: str
) -> None:
    reader.score.value = "0"
    getattr(reader, missing).value = "" if missing == "reader" else None
    reader.enter.native.click()
    assert reader.status.value.startswith("First ")
    assert missing in reader.status.value
    assert not (tmp_path / "scores.csv").exists()


def test_a_score_of_another_day_shows_the_result_and_stays(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot, tmp_path: Path
) -> None:
    (tmp_path / "scores.csv").write_text(
        "slide,region,reader,score\nhe.ome.tif,,Dr. A,1+\n", encoding="utf-8"
    )
    assert press_and_wait(widget, qtbot)
    reader.score.value = "3+"
    reader.enter.native.click()
    assert "1+ by Dr. A, which was noted before" in reader.status.value
    assert len(results(viewer)) == 1
    assert read_scores(tmp_path / "scores.csv").scores[0].grade == 1
