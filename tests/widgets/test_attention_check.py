"""How far attention is importance, from the panel."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.inspector import Opening, expected, press_and_wait
from tests.widgets.pressing import PATIENCE_MS

from napari_hmkd.attention_layers import IMPORTANCE, QUERY, TOKEN
from napari_hmkd.grading import open_model
from napari_hmkd.inspection.faithfulness import Faithfulness, check_faithfulness
from napari_hmkd.inspection.importance import Method
from napari_hmkd.planning import read_tile
from napari_hmkd.widgets.attention_widget import AttentionWidget
from napari_hmkd.widgets.viewing import slide_of

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("undoubted")]
TILE = (1, 1)


@pytest.fixture
def pointed_at(open_inspector: Opening, qtbot) -> AttentionWidget:
    """A panel, in which a tile was pointed at; its tokens are those of level 1."""
    panel = open_inspector()
    panel.form.level.value = 1
    panel.query.look_at(300, 300)
    qtbot.waitUntil(lambda: not panel.query.run.running, timeout=PATIENCE_MS)
    return panel


def check_and_wait(panel: AttentionWidget, qtbot) -> None:
    panel.check.native.click()
    qtbot.waitUntil(lambda: not panel.checking.run.running, timeout=PATIENCE_MS)


@pytest.mark.slow
def test_both_maps_are_drawn_and_their_correlations_told(
    viewer, qtbot, pointed_at: AttentionWidget
) -> None:
    pytest.importorskip("captum", reason="needs the extra `inspect`")
    check_and_wait(pointed_at, qtbot)
    student, slide = open_model(pointed_at.form.student.value), slide_of(viewer.layers["he.tif"])
    grid = pointed_at.scene.findings.grid
    he = read_tile(slide, grid, TILE)
    *_, checked = check_faithfulness(student, he, expected(pointed_at, TILE), level=1)
    assert isinstance(checked, Faithfulness)
    for method in Method:
        layer = viewer.layers[IMPORTANCE[method]]
        np.testing.assert_allclose(layer.data, checked.maps[method], rtol=1e-3, atol=1e-6)
        assert layer.contrast_limits == pytest.approx((0, layer.data.max()))
        corner = viewer.layers["he.tif"].world_to_data(layer.data_to_world((-0.5, -0.5)))
        np.testing.assert_allclose(np.asarray(corner) + 0.5, (256, 256), atol=1e-6)
    words = pointed_at.verdict.value
    for correlation in checked.correlations.values():
        assert str(correlation) in words
    assert "row 1, column 1" in words
    assert {*QUERY.values(), TOKEN}.isdisjoint(layer.name for layer in viewer.layers)


def test_without_captum_the_panel_says_how_to_get_it(
    qtbot, pointed_at: AttentionWidget, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    check_and_wait(pointed_at, qtbot)
    assert 'pip install "napari-hmkd[inspect]"' in pointed_at.status.value
    assert pointed_at.check.enabled


@pytest.mark.slow
def test_it_can_be_stopped(viewer, qtbot, pointed_at: AttentionWidget) -> None:
    pytest.importorskip("captum", reason="needs the extra `inspect`")
    pointed_at.check.native.click()
    assert pointed_at.stop.enabled
    pointed_at.checking.run.stepped.connect(lambda *_: pointed_at.stop.native.click())
    qtbot.waitUntil(lambda: not pointed_at.checking.run.running, timeout=PATIENCE_MS)
    assert pointed_at.verdict.value == ""
    assert not set(IMPORTANCE.values()) & {layer.name for layer in viewer.layers}
    assert not pointed_at.stop.enabled


def test_a_tile_has_to_be_chosen_first(qtbot, open_inspector: Opening) -> None:
    panel = open_inspector()
    panel.check.native.click()
    assert not panel.checking.run.running
    assert "First point at a tile" in panel.status.value


@pytest.mark.slow
def test_a_tile_that_was_chosen_in_the_table_is_checked(qtbot, open_inspector: Opening) -> None:
    pytest.importorskip("captum", reason="needs the extra `inspect`")
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    panel.form.level.value = 2
    row = panel.table.rows[-1]
    panel.table.chosen.emit(row)
    check_and_wait(panel, qtbot)
    assert f"row {row.row}, column {row.column}, level 2" in panel.verdict.value
