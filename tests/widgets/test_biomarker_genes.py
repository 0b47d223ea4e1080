"""Predict biomarkers with a table of genes, whose network answers where it can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.biomarkers import OpenPanel
from tests.widgets.pressing import press_and_wait

from napari_hmkd.reader import read_slides
from napari_hmkd.widgets.biomarker_widget import BiomarkerWidget
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_table_of_genes_is_not_remembered_as_it_is_of_one_cohort(
    viewer, open_biomarkers: OpenPanel, gene_file: Path
) -> None:
    panel = open_biomarkers()
    panel.form.genes.value, panel.form.case.value = gene_file, "P1"
    panel.native.parent().title.close_button.click()
    again = BiomarkerWidget(viewer)
    viewer.window.add_dock_widget(again)
    assert (again.form.genes.value, again.form.case.value) == (None, "")
