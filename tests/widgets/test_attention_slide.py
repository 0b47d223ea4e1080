"""The agreement of a whole slide: of its tissue as painted, asked about first where the slide is doubted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.inspector import EVERY_TILE, Opening, press_and_wait
from tests.widgets.pressing import PATIENCE_MS

from napari_hmkd.attention_layers import AGREEMENT
from napari_hmkd.errors import UnsuitableSlideError
from napari_hmkd.reader import read_slides
from napari_hmkd.slide import StainCheck, StainKind, find_tissue
from napari_hmkd.widgets import attention_run
from napari_hmkd.widgets.tissue_run import TissueRun
from napari_hmkd.widgets.viewing import add_layers, slide_of

pytestmark = [pytest.mark.slow, pytest.mark.gui]
undoubted = pytest.mark.usefixtures("undoubted")


@pytest.fixture
def doubtful(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every slide is doubted; whether each try was by force."""
    forced: list[bool] = []
    plain = attention_run.plan_grading

    def plan(slide, card, settings, *rest):
        forced.append(settings.force)
        if not settings.force:
            raise UnsuitableSlideError("which looks like IHC, brown as it is")
        return plain(slide, card, settings, *rest)

    monkeypatch.setattr(attention_run, "plan_grading", plan)
    return forced


@undoubted
def test_what_was_erased_from_the_tissue_is_left(viewer, qtbot, open_inspector: Opening) -> None:
    panel = open_inspector()
    he_layer = panel.form.slide.value
    tissue = find_tissue(slide_of(he_layer))
    layer = TissueRun(viewer).show(he_layer, tissue)
    erased = np.array(layer.data)
    erased[:, : erased.shape[1] // 3] = 0  # the first column of tiles
    layer.data = erased
    press_and_wait(panel, qtbot, "whole_slide")
    left = {tile for tile in EVERY_TILE if tile[1] > 0}
    assert {(row.row, row.column) for row in panel.table.rows} == left
    known = np.argwhere(np.isfinite(viewer.layers[AGREEMENT].data)).tolist()
    assert {tuple(tile) for tile in known} == left
    np.testing.assert_array_equal(layer.data, erased)


@undoubted
def test_the_tissue_that_was_found_is_there_to_be_painted(
    viewer, qtbot, open_inspector: Opening
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot, "whole_slide")
    he = slide_of(panel.form.slide.value)
    found = TissueRun(viewer).mask_of(he)
    np.testing.assert_array_equal(found.mask, find_tissue(he).mask)
    press_and_wait(panel, qtbot, "whole_slide")
    assert sum("tissue" in layer.name for layer in viewer.layers) == 1


def test_without_any_tissue_it_says_so(viewer, qtbot, open_inspector: Opening) -> None:
    panel = open_inspector()
    he_layer = panel.form.slide.value
    layer = TissueRun(viewer).show(he_layer, find_tissue(slide_of(he_layer)))
    layer.data = np.zeros_like(layer.data)
    press_and_wait(panel, qtbot, "whole_slide")
    assert "the tissue layer given for it is empty" in panel.status.value
    assert panel.table.rows == []


@undoubted
def test_a_slide_that_is_doubted_is_asked_about_and_inspected_if_the_user_insists(
    qtbot, open_inspector: Opening, doubtful: list[bool]
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot, "whole_slide")
    assert "looks like IHC" in panel.status.value
    assert not panel.question.native.isHidden()
    assert panel.table.rows == []
    panel.question.yes.native.click()
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)
    assert panel.question.native.isHidden()
    assert len(panel.table.rows) == len(EVERY_TILE)
    press_and_wait(panel, qtbot, "whole_slide")
    assert doubtful == [False, True, True], "it is not asked again"


def test_a_slide_that_is_left_is_doubted_again(
    qtbot, open_inspector: Opening, doubtful: list[bool]
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot, "whole_slide")
    panel.question.no.native.click()
    assert panel.question.native.isHidden()
    press_and_wait(panel, qtbot, "whole_slide")
    assert doubtful == [False, False]


@pytest.mark.parametrize("button", ["inspect", "whole_slide"])
def test_an_ihc_that_looks_like_none_or_does_not_lie_over_its_he_is_doubted_once(
    qtbot, open_inspector: Opening, monkeypatch, button: str
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot, button)
    assert "ihc.tif, given as the IHC, looks like" in panel.warnings.value
    assert "'ihc.tif' does not look like the IHC of 'he.tif'" in panel.warnings.value
    monkeypatch.setattr(attention_run, "doubts_of_ihc", lambda *_: pytest.fail("looked at again"))
    press_and_wait(panel, qtbot, button)
    panel.form.ihc.value = None
    press_and_wait(panel, qtbot)
    assert panel.warnings.value == ""


@pytest.mark.parametrize("with_ihc", [True, False], ids=["IHC", "no IHC"])
def test_an_he_that_looks_like_none_is_doubted_once_where_only_what_is_in_view_is_inspected(
    qtbot, open_inspector: Opening, monkeypatch, with_ihc: bool
) -> None:
    brown = StainCheck(StainKind.IHC, "IHC, brown as it is")
    monkeypatch.setattr(attention_run, "check_stain", lambda _: brown)
    panel = open_inspector(with_ihc=with_ihc)
    press_and_wait(panel, qtbot)
    assert "he.tif, given as the H&E, looks like IHC, brown" in panel.warnings.value
    assert len(panel.table.rows) == len(EVERY_TILE)
    monkeypatch.setattr(attention_run, "check_stain", lambda _: pytest.fail("looked at again"))
    press_and_wait(panel, qtbot)


@undoubted
def test_the_logits_of_both_are_shown_of_the_tile_that_was_chosen_or_pointed_at(
    qtbot, open_inspector: Opening
) -> None:
    panel = open_inspector()
    assert panel.logits.isHidden()
    press_and_wait(panel, qtbot, "whole_slide")
    rows = {(row.row, row.column): row for row in panel.table.rows}

    def shown() -> list[list[float]]:
        table = panel.logits
        shown_rows = [row for row in range(table.rowCount()) if not table.isRowHidden(row)]
        columns = range(table.columnCount())
        return [[float(table.item(row, column).text()) for column in columns] for row in shown_rows]

    def expected(tile: tuple[int, int]) -> list:
        both = rows[tile].student_logits, rows[tile].teacher_logits
        return [pytest.approx(logits, abs=0.006) for logits in both]

    panel.table.chosen.emit(rows[1, 2])
    assert not panel.logits.isHidden()
    assert shown() == expected((1, 2))
    panel.query.look_at(10, 300)
    assert shown() == expected((0, 1))
    panel.form.ihc.value = None
    panel.query.look_at(10, 10)
    qtbot.waitUntil(lambda: not panel.query.run.running, timeout=PATIENCE_MS)
    (alone,) = shown()
    assert alone == pytest.approx(rows[0, 0].student_logits, abs=0.006)


def test_what_was_found_goes_with_its_slide_though_another_is_chosen_by_then(
    viewer, qtbot, open_inspector: Opening, paint_slide, tmp_path: Path
) -> None:
    panel = open_inspector(with_ihc=False)
    hint = panel.status.value
    press_and_wait(panel, qtbot)
    qtbot.waitUntil(lambda: len(panel.table.rows) == len(EVERY_TILE))
    inspected = panel.form.slide.value
    (other,) = add_layers(viewer, read_slides(paint_slide(tmp_path / "other.tif", [[0, 1]])))
    panel.form.slide.value = other
    assert len(panel.table.rows) == len(EVERY_TILE), "it is shown until anything else is asked for"
    viewer.layers.remove(inspected)
    assert panel.table.rows == []
    assert not [layer.name for layer in viewer.layers if "attention" in layer.name]
    assert panel.status.value == hint


def test_a_slide_that_is_removed_before_its_tissue_is_found_leaves_no_word_of_what_is_under_way(
    viewer, qtbot, open_inspector: Opening
) -> None:
    panel = open_inspector()
    panel.whole_slide.native.click()
    viewer.layers.remove(panel.form.slide.value)
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)
    assert panel.status.value == "Stopped."
