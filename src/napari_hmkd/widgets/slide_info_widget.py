"""The dock widget that says what is known about a slide."""

from __future__ import annotations

import napari.viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QApplication,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_hmkd.slide import Slide
from napari_hmkd.slide.description import describe, live_facts
from napari_hmkd.widgets.async_offer import AsyncOffer
from napari_hmkd.widgets.field_names import name_fields
from napari_hmkd.widgets.scrolling import scroll
from napari_hmkd.widgets.slide_choice import SlideChoice
from napari_hmkd.widgets.viewing import unwrapped

_REFRESH_MS = 1000
_NOTHING = {"Slide": "none is open: drop its file on the window"}


class SlideInfoWidget(QWidget):
    """Facts about the chosen slide in two columns, in words only.

    Label and macro images, which can show a patient's name, are no part of it.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.

    Attributes
    ----------
    facts : dict of str to str
        What is shown about the chosen slide.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.slide = SlideChoice(unwrapped(napari_viewer), label="Slide")
        self.table = QTableWidget(0, 2)
        self.copy_button = QPushButton("Copy")
        self.load_async = AsyncOffer()
        self.facts = _NOTHING
        self._described: Slide | None = None
        # The cache's figures change while one looks at them.
        self._timer = QTimer(self, interval=_REFRESH_MS, timeout=self.refresh)
        self._lay_out()
        self.slide.changed.connect(self.refresh)
        self.copy_button.clicked.connect(self.copy)
        self.refresh()

    def refresh(self, _value: object = None) -> None:
        """Show the facts; what has not changed is left alone, with its selection.

        The file is asked once for each slide, as a disk that stalls would hang the window; only what
        is known without it is of the moment.
        """
        slide = self.slide.chosen
        if slide is not self._described:
            self._described = slide
            self.facts = _NOTHING if slide is None else describe(slide)
        elif slide is not None:
            self.facts |= live_facts(slide)
        self.table.setRowCount(len(self.facts))
        for row, fact in enumerate(self.facts.items()):
            for column, text in enumerate(fact):
                item = self.table.item(row, column)
                if item is None:
                    self.table.setItem(row, column, QTableWidgetItem(text))
                elif item.text() != text:
                    item.setText(text)
        self._fit()
        self.copy_button.setEnabled(slide is not None)

    def copy(self) -> None:
        """Put all facts on the clipboard, one a line."""
        lines = (f"{name}: {value}" for name, value in self.facts.items())
        QApplication.clipboard().setText("\n".join(lines))

    def showEvent(self, event: QShowEvent) -> None:
        """Follow the cache's figures while they can be seen."""
        super().showEvent(event)
        self.refresh()
        self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        """Stop following them."""
        self._timer.stop()
        super().hideEvent(event)

    def _fit(self, *_resized: int) -> None:
        """No fact is out of sight in the table: the panel scrolls."""
        rows = self.table.verticalHeader().length()
        self.table.setFixedHeight(rows + 2 * self.table.frameWidth())

    def _lay_out(self) -> None:
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)  # Tab leaves it; the arrow keys go through its rows
        self.table.setTextElideMode(Qt.TextElideMode.ElideNone)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().hide()
        self.table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.verticalHeader().sectionResized.connect(self._fit)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        layout = QVBoxLayout(self)
        layout.addWidget(self.slide.native)
        layout.addWidget(self.table)
        layout.addWidget(self.copy_button)
        layout.addWidget(self.load_async.native)
        scroll(self)
        name_fields([self.slide])
        self.table.setAccessibleName("facts about the slide")
