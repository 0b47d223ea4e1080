"""Attention inside what the user has marked: of the view, and of the whole slide."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.inspector import EVERY_TILE, Opening, map_layer, press_and_wait

from napari_hmkd.attention_layers import AGREEMENT
from napari_hmkd.widgets.attention_widget import AttentionWidget

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("undoubted")]
TILE_PX = 256  # of the painted slide's level 0
MARKED = {(0, 1), (0, 2), (1, 1)}


def mark(panel: AttentionWidget, viewer) -> None:
    """Draw two shapes, of one region, in the layer that the button adds."""
    panel.form.region.mark.native.click()
    layer = viewer.layers.selection.active
    assert layer.name == "region", "the grade by area is of what a user calls tumour"
    for top, left, bottom, right in ((0.2, 1.1, 0.8, 2.4), (0.5, 1.2, 1.1, 1.3)):  # in tiles
        corners = np.array([(top, left), (top, right), (bottom, right), (bottom, left)])
        layer.add_polygons(corners * TILE_PX - 0.5)


def inspected(panel: AttentionWidget) -> set[tuple[int, int]]:
    return {(row.row, row.column) for row in panel.table.rows}


@pytest.mark.parametrize("with_ihc", [True, False], ids=["IHC", "no IHC"])
def test_of_the_view_the_marked_tiles_alone_are_inspected(
    viewer, qtbot, open_inspector: Opening, with_ihc: bool
) -> None:
    panel = open_inspector(with_ihc=with_ihc)
    mark(panel, viewer)
    panel.form.region.only.value = True
    press_and_wait(panel, qtbot)
    assert inspected(panel) == MARKED
    drawn = np.isfinite(map_layer(panel, viewer).data)  # from row 0 and column 1 on
    assert drawn[:8].all()
    assert drawn[8:, :8].all()
    assert not drawn[8:, 8:].any()


@pytest.mark.slow
def test_of_the_slide_the_marked_tiles_alone_are_compared(
    viewer, qtbot, open_inspector: Opening
) -> None:
    panel = open_inspector()
    mark(panel, viewer)
    panel.form.region.only.value = True
    press_and_wait(panel, qtbot, "whole_slide")
    assert inspected(panel) == MARKED
    known = np.argwhere(np.isfinite(viewer.layers[AGREEMENT].data)).tolist()
    assert {tuple(tile) for tile in known} == MARKED
    press_and_wait(panel, qtbot, "whole_slide")
    assert panel.status.value == "All of it was inspected before."
    panel.form.region.only.value = False
    press_and_wait(panel, qtbot, "whole_slide")
    assert inspected(panel) == EVERY_TILE


@pytest.mark.parametrize(
    ("button", "said"),
    [("inspect", "No region is marked"), ("whole_slide", "none is marked")],
)
def test_where_nothing_is_marked_it_says_so(
    qtbot, open_inspector: Opening, button: str, said: str
) -> None:
    panel = open_inspector()
    panel.form.region.only.value = True
    getattr(panel, button).native.click()
    qtbot.waitUntil(lambda: not panel.run.running and said in panel.status.value)
    assert inspected(panel) == set()
