"""The table of tiles: sorted by numbers, chosen from, copied."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_hmkd.inspection.slide import TileRow
from napari_hmkd.widgets.tile_table import COLUMNS, TileTable

pytestmark = pytest.mark.gui
NAMES = ("0", "1+", "2+", "3+")
HEADS = [column.head for column in COLUMNS]
ROW = TileRow(
    2, 10, 512.0, 2560.0, 1, 3, 1.2, 2.7, 1.5, 0.9, 0.6, 0.3, 9.25, 0.5, 0.125,
    0.0, 0.0, (0.1, 1.5, 0.2, -3.0), (0.0, -1.0, 0.5, 2.25),
)  # fmt: skip
SMALLER = replace(ROW, row=10, column=2, attention_loss=1.5, agreement_0=0.3, student_grade=3)
ALONE = TileRow(7, 7, 0.0, 0.0, 2, None, 2.0, *(None,) * 10, (0.0, 1.0, 7.5, 2.0), None)


@pytest.fixture
def table(qtbot) -> TileTable:
    table = TileTable()
    qtbot.addWidget(table)
    table.clear(NAMES)
    for row in (SMALLER, ALONE, ROW):
        table.put(row)
    return table


def click(table: TileTable, qtbot, place: int) -> None:
    spot = table.visualRect(table.model().index(place, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=spot)


def test_the_greatest_attention_loss_comes_first_and_what_is_unknown_last(table) -> None:
    assert table.rows == [ROW, SMALLER, ALONE]


@pytest.mark.parametrize(
    ("head", "ascending"),
    [("row", [ROW, ALONE, SMALLER]), ("col", [SMALLER, ALONE, ROW]), ("student", [ROW, ALONE, SMALLER]),
     ("agree", [ALONE, SMALLER, ROW])],
)  # fmt: skip
def test_a_column_is_sorted_by_its_numbers(table, head: str, ascending: list[TileRow]) -> None:
    table.sortByColumn(HEADS.index(head), Qt.SortOrder.AscendingOrder)
    assert table.rows == ascending


def test_a_row_that_comes_later_takes_its_place_and_replaces_that_of_its_tile(table) -> None:
    table.put(replace(ROW, row=0, attention_loss=5.0))
    assert [row.attention_loss for row in table.rows] == [9.25, 5.0, 1.5, None]
    table.put(replace(ROW, attention_loss=0.5))
    assert [row.attention_loss for row in table.rows] == [5.0, 1.5, 0.5, None]


def test_a_click_and_enter_choose_a_tile(table, qtbot) -> None:
    chosen: list[TileRow] = []
    table.chosen.connect(chosen.append)
    table.show()
    click(table, qtbot, 1)
    assert chosen == [SMALLER]
    qtbot.keyClick(table, Qt.Key.Key_Down)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert chosen == [SMALLER, ALONE]


def test_selected_rows_are_copied_as_text_or_all(table, qtbot) -> None:
    def copied() -> list[list[str]]:
        qtbot.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
        return [line.split("\t") for line in QApplication.clipboard().text().split("\n")]

    head, first, *others = copied()
    assert head == HEADS
    assert first == ["2", "10", "1+", "3+", "1.500", "0.600", "9.250", "0.500", "0.125"]
    assert others[1] == ["7", "7", "2+", *[""] * 6]
    table.selectRow(1)
    assert [line[:2] for line in copied()[1:]] == [["10", "2"]]
