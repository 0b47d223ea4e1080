"""What student and teacher say of one tile, side by side: a logit for each grade."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_hmkd.inspection.slide import TileRow

_WHO = ("student", "teacher")


class LogitsTable(QTableWidget):
    """Two rows of four numbers, hidden while there is no tile."""

    def __init__(self) -> None:
        super().__init__(len(_WHO), 0)
        self.setVerticalHeaderLabels(_WHO)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.setToolTip("logits of the tile, before any temperature: the raw answer to each grade")
        self.setAccessibleName("logits of student and teacher")
        self.hide()

    def show_tile(self, row: TileRow | None, class_names: Sequence[str] = ()) -> None:
        """Show a tile's logits, none for None.

        Parameters
        ----------
        row : TileRow or None
        class_names : sequence of str
            Of the grades.
        """
        self.setVisible(row is not None)
        if row is None:
            return
        self.setColumnCount(len(class_names))
        self.setHorizontalHeaderLabels([f"logit {name}" for name in class_names])
        for place, logits in enumerate((row.student_logits, row.teacher_logits)):
            self.setRowHidden(place, logits is None)
            for column, logit in enumerate(logits or ()):
                self.setItem(place, column, _cell(f"{logit:.2f}"))
        self._fit()

    def _fit(self) -> None:
        shown = (self.rowHeight(p) for p in range(self.rowCount()) if not self.isRowHidden(p))
        self.setFixedHeight(
            self.horizontalHeader().sizeHint().height() + sum(shown) + 2 * self.frameWidth()
        )


def _cell(text: str) -> QTableWidgetItem:
    cell = QTableWidgetItem(text)
    cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return cell
