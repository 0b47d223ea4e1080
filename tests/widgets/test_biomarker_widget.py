"""Predict biomarkers: the button, what it asks and says, and that it agrees with the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from time import sleep

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.cli.grade import main
from napari_hmkd.errors import UnsuitableSlideError
from napari_hmkd.export.biomarkers import BIOMARKERS
from napari_hmkd.queueing import TileQueue
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import biomarker_form, biomarker_run
from napari_hmkd.widgets.biomarker_widget import BiomarkerWidget
from napari_hmkd.widgets.notice import text_overlay
from napari_hmkd.widgets.viewing import add_layers, slide_of
from napari_hmkd.wording import NO_GRADE

pytestmark = pytest.mark.gui
PATIENCE_MS = 60_000
TILES = 10  # with tissue
OpenPanel = Callable[..., BiomarkerWidget]


def press_and_wait(panel: BiomarkerWidget, qtbot, button: object = None) -> bool:
    complete: list[bool] = []
    panel.run.ended.connect(complete.append)
    (button or panel.start).native.click()
    qtbot.waitUntil(lambda: bool(complete), timeout=PATIENCE_MS)
    panel.run.ended.disconnect(complete.append)
    return complete[0]


def stop_after_first_batch(panel: BiomarkerWidget, monkeypatch, stop: Callable[[], None]) -> None:
    """The worker is held until it was stopped, so that it cannot be faster."""
    plain = SlideBiomarkers.run

    def run(self: SlideBiomarkers, queue: TileQueue):
        for batch in plain(self, queue):
            yield batch
            panel.run._stop.wait(30)

    def press(tried: int, _planned: int, _speed: float) -> None:
        if tried:
            panel.run.progressed.disconnect(press)
            monkeypatch.setattr(SlideBiomarkers, "run", plain)
            stop()

    monkeypatch.setattr(SlideBiomarkers, "run", run)
    panel.run.progressed.connect(press)


def summary(folder: Path) -> dict:
    return json.loads((folder / "biomarkers.json").read_text(encoding="utf-8"))


def test_button_and_command_line_give_the_same_numbers_and_the_same_table(
    open_biomarkers: OpenPanel, qtbot, tmp_path: Path, biomarkers_file: Path, student_file: Path
) -> None:
    panel = open_biomarkers()
    assert press_and_wait(panel, qtbot)
    slide = panel.form.slide.chosen
    models = ["--model", str(biomarkers_file), "--encoder", str(student_file)]
    with pytest.raises(SystemExit) as ended:
        main(
            ["biomarkers", str(slide.path), *models, "--out", str(tmp_path / "command"), "--device", "cpu", "--fresh"]
        )  # fmt: skip
    assert ended.value.code == 0
    panel.save_results(tmp_path / "button")
    qtbot.waitUntil(lambda: panel.status.value.startswith("Saved"), timeout=PATIENCE_MS)

    by_command, by_button = (
        tmp_path / where / f"{slide.name}.biomarkers" for where in ("command", "button")
    )
    assert {path.name for path in by_button.iterdir()} == BIOMARKERS.entries
    assert summary(by_button)["targets"] == summary(by_command)["targets"]
    assert (by_button / "patches.csv").read_bytes() == (by_command / "patches.csv").read_bytes()
    for target in summary(by_command)["targets"]:
        for status, probability in target["probabilities"].items():
            row = f"{target['name']} {status}\n{probability:.3f}\n"
            assert row in panel.results.numbers.toPlainText()
    with (by_command / "patches.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    attention = panel.run.result.attention_map(panel.run.result.predictions[0])
    assert len(rows) == np.isfinite(attention).sum() == TILES
    for row in rows:
        found = attention[int(row["row"]), int(row["column"])]
        assert found == pytest.approx(TILES * float(row["attention_HER2"]), rel=1e-4)


def test_with_a_table_of_genes_the_network_that_sees_both_answers_and_is_named(
    open_biomarkers: OpenPanel,
    qtbot,
    paint_slide,
    multimodal_file: Path,
    gene_file: Path,
    tmp_path: Path,
) -> None:
    panel = open_biomarkers(paint_slide(tmp_path / "P1_a.tif", [[0, 1], [2, 3]]))
    panel.form.model.value = multimodal_file
    said = {}
    for genes, case in ((None, ""), (gene_file, ""), (gene_file, "P2")):
        panel.form.genes.value, panel.form.case.value = genes, case
        assert press_and_wait(panel, qtbot)
        found, text = panel.run.result, panel.results.numbers.toPlainText()
        said[case if genes else None] = found.predictions[0].probabilities
        assert f"By {found.answered_by}" in text
        about = panel.results._drawn.get("attention").metadata["napari_hmkd"]
        assert about["answered_by"] == found.answered_by
        assert found.answered_by == (
            f"network M, from H&E and genes (row {case or 'P1'} of genes.csv)"
            if genes
            else "network P, from H&E alone"
        )
    assert len({tuple(one) for one in said.values()}) == len(said)


def test_a_slide_without_genes_in_the_table_is_judged_without_and_told_why(
    open_biomarkers: OpenPanel, qtbot, multimodal_file: Path, gene_file: Path
) -> None:
    panel = open_biomarkers()
    panel.form.model.value, panel.form.genes.value = multimodal_file, gene_file
    assert press_and_wait(panel, qtbot)
    assert {one.network for one in panel.run.result.predictions} == {"P"}
    assert "genes.csv has no row of genes for gewebe ä" in panel.warnings.value


@pytest.mark.parametrize(
    ("with_m", "case", "message"),
    [(False, "", "whose file holds P alone"), (True, "P9", "no row of genes for P9")],
)
def test_genes_that_cannot_be_used_are_an_error_and_the_button_is_free_again(
    open_biomarkers: OpenPanel,
    qtbot,
    multimodal_file: Path,
    gene_file: Path,
    with_m: bool,
    case: str,
    message: str,
) -> None:
    panel = open_biomarkers()
    if with_m:
        panel.form.model.value = multimodal_file
    panel.form.genes.value, panel.form.case.value = gene_file, case
    with qtbot.captureExceptions():
        assert not press_and_wait(panel, qtbot)
    assert message in panel.status.value
    assert panel.start.enabled
    assert panel.run.result is None


def test_a_case_that_was_named_is_not_the_next_slides(
    viewer, open_biomarkers: OpenPanel, paint_slide, tmp_path: Path
) -> None:
    panel = open_biomarkers()
    panel.form.case.value = "P1"
    add_layers(viewer, read_slides(paint_slide(tmp_path / "next.tif", [[0, 1], [2, 3]])))
    assert panel.form.case.value == "P1"
    panel.form.slide.value = viewer.layers["next.tif"]
    assert panel.form.case.value == ""


def test_the_panel_fits_a_small_window_with_genes_too(
    viewer,
    open_biomarkers: OpenPanel,
    qtbot,
    gene_file: Path,
    multimodal_file: Path,
    show_window: Callable[[], None],
) -> None:
    panel = open_biomarkers()
    show_window()
    viewer.window.resize(1200, 760)
    assert panel.form.case.native.isHidden()
    panel.form.model.value, panel.form.genes.value = multimodal_file, gene_file
    panel.form.case.value = "P1"
    assert press_and_wait(panel, qtbot)
    numbers, choice = panel.results.numbers, panel.results._choice.native
    qtbot.waitUntil(lambda: choice.isVisible() and panel.form.case.native.isVisible())
    qtbot.waitUntil(lambda: numbers.geometry().bottom() < choice.geometry().top())


@pytest.mark.usefixtures("undrawn_figures")
def test_where_the_saved_geojson_counts_from_is_asked_where_only_a_part_was_scanned(
    open_biomarkers: OpenPanel, qtbot, monkeypatch, tmp_path: Path
) -> None:
    panel = open_biomarkers()
    monkeypatch.setattr(panel.form.slide.chosen, "origin_px", (300, 70))
    assert panel.geojson_origin.native.isHidden()
    assert press_and_wait(panel, qtbot)
    assert not panel.geojson_origin.native.isHidden()
    panel.geojson_origin.value = "file"
    panel.save_results(tmp_path)
    qtbot.waitUntil(lambda: panel.status.value.startswith("Saved"), timeout=PATIENCE_MS)
    folder = tmp_path / f"{panel.form.slide.chosen.name}.biomarkers"
    written = json.loads((folder / "patches.geojson").read_text(encoding="ascii"))
    rings = [one["geometry"]["coordinates"][0] for one in written["features"]]
    np.testing.assert_allclose(np.vstack(rings).min(axis=0), (70, 300))  # (x, y)


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


def test_a_painted_tissue_layer_is_obeyed(open_biomarkers: OpenPanel, qtbot) -> None:
    panel = open_biomarkers()
    assert press_and_wait(panel, qtbot)
    tissue = panel.tissue.layer_of(panel.form.slide.chosen)
    erased = np.array(tissue.data)
    erased[len(erased) // 3 :] = 0
    tissue.data = erased
    assert press_and_wait(panel, qtbot)
    assert panel.run.result.extraction.plan.tiles.tolist() == [[0, 0], [0, 1], [0, 2]]


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


def test_a_table_of_genes_is_not_remembered_as_it_is_of_one_cohort(
    viewer, open_biomarkers: OpenPanel, gene_file: Path
) -> None:
    panel = open_biomarkers()
    panel.form.genes.value, panel.form.case.value = gene_file, "P1"
    panel.native.parent().title.close_button.click()
    again = BiomarkerWidget(viewer)
    viewer.window.add_dock_widget(again)
    assert (again.form.genes.value, again.form.case.value) == (None, "")


def test_a_key_presses_the_button(open_biomarkers: OpenPanel, qtbot, press_key) -> None:
    panel = open_biomarkers()
    press_key("B")
    assert panel.run.running
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)
    assert slide_of(panel.run.slide_layer) is panel.run.result.extraction.plan.slide


@pytest.mark.usefixtures("undrawn_figures")
def test_saving_does_not_replace_the_results_of_a_namesake(
    open_biomarkers: OpenPanel, qtbot, tmp_path: Path
) -> None:
    panel = open_biomarkers()
    assert press_and_wait(panel, qtbot)

    def save() -> None:
        panel.save_results(tmp_path)
        qtbot.waitUntil(lambda: not panel.saving.running, timeout=PATIENCE_MS)

    save()
    assert panel.status.value.startswith("Saved")
    (summary,) = tmp_path.glob("*.biomarkers/biomarkers.json")
    about = json.loads(summary.read_text(encoding="utf-8"))
    about["slide"]["fingerprint"] = "of another file"
    summary.write_text(json.dumps(about), encoding="utf-8")
    save()
    assert "another slide of that name" in panel.status.value
    assert json.loads(summary.read_text(encoding="utf-8")) == about
