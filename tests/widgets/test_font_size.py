"""Texts follow napari's setting of the font size."""

from __future__ import annotations

import gc

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from magicgui.widgets import Container, LineEdit, SpinBox
from napari.settings import get_settings
from qtpy.QtWidgets import QTableWidget, QTableWidgetItem

from napari_hmkd.reader import read_slides
from napari_hmkd.widgets.font_size import FontSize
from napari_hmkd.widgets.scrolling import scroll
from napari_hmkd.widgets.slide_info_widget import SlideInfoWidget
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui


@pytest.fixture
def appearance():
    """Napari's, put back at the end."""
    appearance = get_settings().appearance
    before = appearance.font_size
    yield appearance
    appearance.font_size = before


def test_tables_and_lines_are_as_large_as_napari_says_now_and_later(viewer, appearance) -> None:
    panel, table, line, number = Container(), QTableWidget(1, 1), LineEdit(), SpinBox(value=3)
    table.setItem(0, 0, QTableWidgetItem("a fact"))
    panel.extend([line, number])
    panel.native.layout().addWidget(table)
    inner = number.native.lineEdit().font().pointSize()
    appearance.font_size = 16
    scroll(panel.native)
    sizes = [one.font().pointSize() for one in (table, line.native, number.native.lineEdit())]
    assert sizes == [16, 16, inner], "napari sees to the number itself"
    appearance.font_size = 19
    assert [one.font().pointSize() for one in (table, line.native)] == [19, 19]


def test_no_fact_is_cut_when_the_texts_grow(viewer, show_window, qtbot, pair, appearance) -> None:
    add_layers(viewer, read_slides(pair.he))
    panel = SlideInfoWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Slide information", area="right")
    show_window()
    before = panel.table.height()
    appearance.font_size = 18
    qtbot.waitUntil(lambda: panel.table.height() > before)

    def heights() -> list[int]:
        return [panel.table.rowHeight(row) for row in range(panel.table.rowCount())]

    qtbot.waitUntil(lambda: panel.table.viewport().height() == sum(heights()))
    assert min(heights()) >= panel.table.fontMetrics().height()


def listening(appearance) -> int:
    """How many panels napari would tell of another size; it knows them weakly."""
    told = [one for one in appearance.events.font_size.callbacks if isinstance(one, tuple)]
    return sum(isinstance(known(), FontSize) for known, _ in told)


def test_a_panel_that_is_gone_is_told_no_more(viewer, qtbot, appearance) -> None:
    before = listening(appearance)
    panel = Container(widgets=[LineEdit()])
    scroll(panel.native)
    assert listening(appearance) == before + 1
    with qtbot.waitSignal(panel.native.destroyed):
        panel.native.deleteLater()
    del panel
    gc.collect()
    appearance.font_size = 17
    assert listening(appearance) == before
