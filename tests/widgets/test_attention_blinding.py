"""Show attention while a reader must not see what the model says."""

from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.inspector import Opening, press_and_wait

from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.viewing import slide_of

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("undoubted")]


@pytest.mark.slow
def test_who_must_score_first_sees_neither_maps_nor_grades(
    viewer, qtbot, open_inspector: Opening
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    try:
        blinding.switch(True)
        qtbot.wait(20)
        assert {layer.name for layer in viewer.layers} == {"he.tif", "ihc.tif"}
        assert panel.table.rows == []
        panel.inspect.native.click()
        assert not panel.run.running
        assert "until you have scored" in panel.status.value
        blinding.reveal(slide_of(panel.form.slide.value).path)
        press_and_wait(panel, qtbot)
        assert len(panel.table.rows) == 6
    finally:
        blinding.switch(False)


@pytest.mark.slow
def test_what_was_hidden_comes_back_once_the_slide_is_scored(
    viewer, qtbot, open_inspector: Opening, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blinding, "_scored", {})
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    panel.scene.go_to((1, 2))
    before, rows = {layer.name for layer in viewer.layers}, panel.table.rows
    assert not panel.logits.isHidden()
    runs.clear()
    try:
        blinding.switch(True)
        qtbot.wait(20)
        assert panel.table.rows == []
        assert panel.logits.isHidden()
        assert "until you have scored" in panel.status.value
        blinding.reveal(slide_of(panel.form.slide.value).path)
        assert {layer.name for layer in viewer.layers} == before
        assert (panel.table.rows, runs) == (rows, [])
        assert not panel.logits.isHidden()
    finally:
        blinding.switch(False)


@pytest.mark.slow
def test_a_verdict_that_comes_late_is_seen_once_the_slide_is_scored(
    viewer, qtbot, open_inspector: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blinding, "_scored", {})
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    try:
        blinding.switch(True)
        panel.checking.judged.emit("alike")
        assert panel.verdict.native.isHidden()
        blinding.reveal(slide_of(panel.form.slide.value).path)
        assert (panel.verdict.value, panel.verdict.native.isHidden()) == ("alike", False)
    finally:
        blinding.switch(False)
