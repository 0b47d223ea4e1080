"""A table of tiles, to be sorted by any number and copied as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from psygnal import Signal
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QApplication, QHeaderView, QTableView

from napari_hmkd.inspection.slide import TileRow
from napari_hmkd.inspection.tile import Tile
from napari_hmkd.widgets.attention_findings import mean_agreement

_UNKNOWN = ""
_NOWHERE = QModelIndex()


class Column(NamedTuple):
    """A column's head, what it is of a row, and what a cursor over the head says."""

    head: str
    value: Callable[[TileRow], float | None]
    hint: str


COLUMNS = (
    Column("row", lambda row: row.row, "of the tile, from the top"),
    Column("col", lambda row: row.column, "of the tile, from the left"),
    Column("student", lambda row: row.student_grade, "most probable grade by the student"),
    Column("teacher", lambda row: row.teacher_grade, "most probable grade by the teacher"),
    Column(
        "apart",
        lambda row: row.disagreement,
        "how far the expected grades of both are apart, 0 to 3",
    ),
    Column("agree", mean_agreement, "cosine of both attentions, mean of the levels, 0 to 1"),
    Column("attention", lambda row: row.attention_loss, "attention loss, summed over the levels"),
    Column(
        "KL", lambda row: row.logits_kl, "divergence of the student's logits from the teacher's"
    ),
    Column("cosine", lambda row: row.cosine, "loss of the pooled features, 1 - cosine"),
)
_GRADES = {"student", "teacher"}


class _Rows(QAbstractTableModel):
    """Rows as they come; the role `UserRole` gives the number that a cell is sorted by."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[TileRow] = []
        self.class_names: Sequence[str] = ()
        self._places: dict[Tile, int] = {}

    def put(self, row: TileRow) -> None:
        """Add a tile's row, or replace it."""
        tile = row.row, row.column
        place = self._places.setdefault(tile, len(self.rows))
        if place < len(self.rows):
            self.rows[place] = row
            self.dataChanged.emit(self.index(place, 0), self.index(place, len(COLUMNS) - 1))
            return
        self.beginInsertRows(_NOWHERE, place, place)
        self.rows.append(row)
        self.endInsertRows()

    def clear(self, class_names: Sequence[str]) -> None:
        """Begin anew, with grades of other names."""
        self.beginResetModel()
        self.rows, self._places, self.class_names = [], {}, class_names
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """How many tiles."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """How many columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """A column's head, and its hint."""
        if orientation is not Qt.Orientation.Horizontal:
            return None
        column = COLUMNS[section]
        texts = {
            Qt.ItemDataRole.DisplayRole: column.head,
            Qt.ItemDataRole.ToolTipRole: column.hint,
        }
        return texts.get(role)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows, or is sorted by."""
        column = COLUMNS[index.column()]
        value = column.value(self.rows[index.row()])
        if role == Qt.ItemDataRole.UserRole:
            return float("-inf") if value is None else float(value)
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        if value is None:
            return _UNKNOWN
        if column.head in _GRADES:
            return self.class_names[int(value)]
        return str(value) if isinstance(value, int) else f"{value:.3f}"


class TileTable(QTableView):
    """Rows of tiles; a click or Enter chooses one, Ctrl+C copies the selected ones, or all.

    Signals
    -------
    chosen(TileRow)
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._rows, self._sorted = _Rows(), QSortFilterProxyModel()
        self._sorted.setSourceModel(self._rows)
        self._sorted.setSortRole(Qt.ItemDataRole.UserRole)
        self.setModel(self._sorted)
        self.setSortingEnabled(True)
        by_attention = [column.head for column in COLUMNS].index("attention")
        self.sortByColumn(by_attention, Qt.SortOrder.DescendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)  # Tab leaves it; the arrow keys go through its rows
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setResizeContentsPrecision(0)  # by what is seen of a long table
        self.setAccessibleName("tiles")
        self.clicked.connect(self._choose)

    def put(self, row: TileRow) -> None:
        """Add a tile's row in its place, or replace it."""
        self._rows.put(row)

    def clear(self, class_names: Sequence[str] = ()) -> None:
        """Begin anew, with the names of the grades."""
        self._rows.clear(class_names)

    @property
    def rows(self) -> list[TileRow]:
        """All rows, as they are sorted."""
        return [self._row(place) for place in range(self._sorted.rowCount())]

    def text(self) -> str:
        """The selected rows, or all, with the heads: a line each, cells between tabs."""
        selected = sorted(index.row() for index in self.selectionModel().selectedRows())
        lines = [[column.head for column in COLUMNS]]
        for place in selected or range(self._sorted.rowCount()):
            cells = (self._sorted.index(place, column) for column in range(len(COLUMNS)))
            lines.append([str(cell.data()) for cell in cells])
        return "\n".join("\t".join(line) for line in lines)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy, choose, or what a table does."""
        if event.matches(QKeySequence.StandardKey.Copy):
            QApplication.clipboard().setText(self.text())
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _choose(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(self._row(index.row()))

    def _row(self, place: int) -> TileRow:
        return self._rows.rows[self._sorted.mapToSource(self._sorted.index(place, 0)).row()]
