"""A reader scores before the model's result is seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog
from tests.widgets.pressing import press_and_wait

from napari_hmkd.errors import SlideReadError
from napari_hmkd.export import write_results
from napari_hmkd.grading import open_model, start_grading
from napari_hmkd.reader import read_slides
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.fingerprint import fingerprint
from napari_hmkd.study.scores import read_scores
from napari_hmkd.widgets import reader_widget
from napari_hmkd.widgets.blinding import Blinding, blinding
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.reader_widget import ReaderWidget
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui


@pytest.fixture(scope="module")
def result_folder(pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command line left of the H&E slide."""
    folder = tmp_path_factory.mktemp("results") / pair.he.name
    with open_slide(pair.he) as slide:
        grading = start_grading(slide, open_model("demo"))
        assert list(grading.run())
        write_results(grading, folder)
    return folder


@pytest.fixture
def reader(viewer, widget: GradeWidget, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(blinding, "_scored", {})
    panel = ReaderWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Reader study")
    panel.hide_results.value = True
    panel.reader.value = "Dr. A"
    panel.file.value = tmp_path / "scores.csv"
    yield panel
    blinding.switch(False)


def note(panel: ReaderWidget, score: str) -> None:
    panel.score.value = score
    panel.enter.native.click()
    if not panel.question.native.isHidden():
        panel.question.yes.native.click()


def results(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers if "HER2 grade" in layer.name]


def test_the_result_is_hidden_until_the_score_is_noted(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot, tmp_path: Path
) -> None:
    assert press_and_wait(widget, qtbot)
    assert results(viewer) == []
    assert widget.map.legend.value.startswith("hidden")
    assert not widget.save.enabled
    note(reader, "2+")
    assert len(results(viewer)) == 1
    assert "mm" in widget.map.legend.value
    assert widget.save.enabled
    (score,) = read_scores(tmp_path / "scores.csv").scores
    assert (score.slide, score.reader, score.grade) == ("he.ome.tif", "Dr. A", 2)
    assert score.fingerprint == fingerprint(reader.slide.chosen)


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


def test_the_status_bar_keeps_no_value_of_a_result_that_goes(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot
) -> None:
    reader.hide_results.value = False
    assert press_and_wait(widget, qtbot)
    viewer.status = "HER2 grade (he.ome.tif): 2.97"
    reader.hide_results.value = True
    assert "2.97" not in str(viewer.status)


def test_another_reader_has_not_scored(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot
) -> None:
    assert press_and_wait(widget, qtbot)
    note(reader, "2+")
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


def test_a_reader_whose_name_tables_read_as_empty_is_asked_for_another(
    viewer, widget: GradeWidget, reader: ReaderWidget, tmp_path: Path
) -> None:
    reader.reader.value = "NA"
    note(reader, "2+")
    assert "the reader 'NA', but tables read that as an empty cell" in reader.status.value
    assert not (tmp_path / "scores.csv").exists()


def test_a_score_of_another_day_shows_the_result_and_stays(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot, tmp_path: Path
) -> None:
    (tmp_path / "scores.csv").write_text(
        "slide,region,reader,score\nhe.ome.tif,,Dr. A,1+\n", encoding="utf-8"
    )
    assert press_and_wait(widget, qtbot)
    note(reader, "3+")
    assert "1+ by Dr. A, which was noted before" in reader.status.value
    assert len(results(viewer)) == 1
    assert read_scores(tmp_path / "scores.csv").scores[0].grade == 1


def test_a_score_of_another_file_of_that_name_shows_nothing_and_is_no_score_of_this_one(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot, tmp_path: Path
) -> None:
    other = "2b" * 32
    (tmp_path / "scores.csv").write_text(
        f"slide,region,reader,score,fingerprint\nhe.ome.tif,,Dr. A,1+,{other}\n", encoding="utf-8"
    )
    note(reader, "3+")
    assert "3+ by Dr. A, noted in" in reader.status.value
    found = read_scores(tmp_path / "scores.csv").scores
    assert {one.fingerprint: one.grade for one in found} == {
        other: 1,
        fingerprint(reader.slide.chosen): 3,
    }


def test_a_score_of_a_slide_that_has_gone_is_not_noted(
    viewer, widget: GradeWidget, reader: ReaderWidget, tmp_path: Path, monkeypatch
) -> None:
    def gone(*_: object) -> str:
        raise SlideReadError("'he.ome.tif' cannot be read any more")

    monkeypatch.setattr(reader_widget, "fingerprint", gone)
    note(reader, "3+")
    assert "cannot be read any more" in reader.status.value
    assert not (tmp_path / "scores.csv").exists()


def drop(viewer, folder: Path, qtbot) -> None:
    viewer.open(str(folder), plugin="napari-hmkd")
    qtbot.wait(50)


def test_a_result_folder_that_is_dropped_shows_nothing_before_the_score_is_noted(
    viewer, reader: ReaderWidget, qtbot, result_folder: Path
) -> None:
    drop(viewer, result_folder, qtbot)
    assert results(viewer) == []
    note(reader, "2+")
    assert len(results(viewer)) == 1
    assert all(layer.visible for layer in viewer.layers)
    reader.reader.value = "Dr. B"
    assert results(viewer) == []


def test_a_result_folder_that_was_dropped_before_goes_when_hiding_begins(
    viewer, reader: ReaderWidget, qtbot, result_folder: Path
) -> None:
    reader.hide_results.value = False
    drop(viewer, result_folder, qtbot)
    assert len(results(viewer)) == 1
    reader.hide_results.value = True
    assert results(viewer) == []
    reader.hide_results.value = False
    assert len(results(viewer)) == 1


def test_a_result_folder_of_a_slide_that_is_not_scored_stays_hidden(
    viewer, reader: ReaderWidget, qtbot, pair, result_folder: Path, tmp_path: Path
) -> None:
    """Its name is all that a folder says of its slide: another slide of that name makes it doubtful."""
    namesake = shutil.copy(pair.ihc, tmp_path / pair.he.name)
    drop(viewer, result_folder, qtbot)
    (other,) = add_layers(viewer, read_slides(namesake))
    scored, reader.slide.value = reader.slide.value, other
    note(reader, "0")
    assert results(viewer) == []
    reader.slide.value = scored
    reader.file.value = tmp_path / "others.csv"
    note(reader, "0")
    assert len(results(viewer)) == 1
    (tmp_path / "third").mkdir()
    add_layers(viewer, read_slides(shutil.copy(namesake, tmp_path / "third")))
    qtbot.waitUntil(lambda: results(viewer) == [])


def test_a_layer_of_results_that_is_hidden_comes_back_as_the_user_left_it(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot
) -> None:
    reader.hide_results.value = False
    widget.map.opacity.value = 0.3
    assert press_and_wait(widget, qtbot)
    layer = widget.run.heatmap_layer
    layer.gamma = 1.5
    reader.hide_results.value = True
    assert layer not in viewer.layers
    assert widget.run.grading is not None, "it was not removed by the user"
    reader.hide_results.value = False
    assert viewer.layers.selection.active is layer
    assert (layer.opacity, layer.gamma) == (0.3, 1.5)


def test_a_score_is_noted_once_it_was_confirmed(
    viewer, reader: ReaderWidget, qtbot, tmp_path: Path
) -> None:
    reader.score.value = "2+"
    reader.enter.native.click()
    assert reader.question.text.value == (
        "Note 2+ for he.ome.tif by 'Dr. A' in scores.csv, a new file?"
    )
    assert blinding.hides(reader.slide.chosen.path)
    reader.question.no.native.click()
    assert not (tmp_path / "scores.csv").exists()
    reader.enter.native.click()
    reader.score.value = "3+"
    assert reader.question.native.isHidden(), "it asked about another score"
    reader.enter.native.click()
    reader.question.yes.native.click()
    assert read_scores(tmp_path / "scores.csv").scores[0].grade == 3
    assert not blinding.hides(reader.slide.chosen.path)


def test_a_second_reader_sees_and_inherits_nothing_of_the_first(
    viewer, reader: ReaderWidget, qtbot
) -> None:
    note(reader, "2+")
    reader.reader.value = "Dr. B"
    assert reader.score.value is None
    assert "Dr. A" not in reader.status.value


def test_half_a_name_is_no_readers(viewer, reader: ReaderWidget, qtbot, monkeypatch) -> None:
    note(reader, "2+")
    field = reader.reader.native
    monkeypatch.setattr(field, "hasFocus", lambda: True)
    seen: list[bool] = []
    path = reader.slide.chosen.path

    def look() -> None:
        seen.append(blinding.hides(path))

    blinding.changed.connect(look)
    qtbot.keyClicks(field, "b")
    qtbot.keyClick(field, Qt.Key.Key_Backspace)
    assert field.text() == "Dr. A"
    assert seen == [True], "hidden at the first letter, and not yet shown"
    qtbot.keyClick(field, Qt.Key.Key_Return)
    blinding.changed.disconnect(look)
    assert seen == [True, False]


def test_a_panel_that_is_opened_again_knows_who_reads(viewer, reader: ReaderWidget) -> None:
    again = ReaderWidget(viewer)
    assert (again.reader.value, again.hide_results.value) == ("Dr. A", True)


def test_after_a_break_results_are_hidden_without_the_panel_and_nobody_reads(
    viewer, widget: GradeWidget, reader: ReaderWidget, qtbot, tmp_path: Path, monkeypatch
) -> None:
    note(reader, "2+")
    reader._preferences.write()
    for name, value in vars(Blinding()).items():  # as in another process
        monkeypatch.setattr(blinding, name, value)
    assert press_and_wait(widget, qtbot)
    assert results(viewer) == []
    assert "Reader study" in widget.map.legend.value
    widget.choose_folder_and_save()
    assert "hidden until you have scored" in widget.status.value
    again = ReaderWidget(viewer)
    assert (again.hide_results.value, again.reader.value) == (True, "")
    assert again.file.value == tmp_path / "scores.csv"


def test_hiding_that_was_ended_is_not_begun_by_itself(viewer, reader: ReaderWidget) -> None:
    reader.hide_results.value = False
    assert not Blinding().on


@pytest.mark.parametrize("who", ["Dr. B", ""])
def test_panels_of_two_windows_say_the_same(viewer, reader: ReaderWidget, who: str) -> None:
    other = ReaderWidget(viewer)
    reader.score.value = "2+"
    other.reader.value = who
    assert (reader.reader.value, reader.score.value) == (who, None), (
        "Dr. A has not scored for others"
    )
    other.hide_results.value = False
    assert not reader.hide_results.value


def test_choosing_a_file_of_scores_does_not_threaten_to_replace_it(
    viewer, reader: ReaderWidget, tmp_path: Path, monkeypatch
) -> None:
    asked: list[object] = []

    def choose(*_: object, options: object) -> tuple[str, str]:
        asked.append(options)
        return str(tmp_path / "chosen.csv"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    reader.file.choose_btn.native.click()
    assert asked == [QFileDialog.Option.DontConfirmOverwrite]
    assert reader.file.value == tmp_path / "chosen.csv"
