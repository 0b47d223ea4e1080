"""Where the keyboard is: a line around the field, and what becomes of it while a panel is at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QPoint, QRect, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QApplication, QWidget

LINE_PX = 2


class FocusRing(QWidget):
    """A line around the field that has the keyboard: napari's themes show it at few of them.

    It lies over the whole of what the fields are in, as a field's own container would cut it.

    Parameters
    ----------
    content : QWidget
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__(content)
        self._field: QWidget | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        content.installEventFilter(self)
        self.hide()

    def go_round(self, field: QWidget | None) -> None:
        """Show which field has the keyboard, or that none of these has."""
        self._field = field
        self.setVisible(field is not None)
        self.raise_()
        self.update()

    def eventFilter(self, content: QObject, event: QEvent) -> bool:
        """Follow fields that move."""
        if event.type() == QEvent.Type.Resize:
            self.resize(event.size())
        elif event.type() == QEvent.Type.LayoutRequest:
            self.update()
        return False

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the line in the colour of the text, which is seen in any theme."""
        if self._field is None:
            return
        pen = QPen(self.palette().windowText().color(), LINE_PX)
        pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
        painter = QPainter(self)
        painter.setPen(pen)
        painter.drawRect(self._around(self._field))

    def _around(self, field: QWidget) -> QRect:
        """Just outside a field, but inside the content."""
        place = QRect(field.mapTo(self.parentWidget(), QPoint()), field.size())
        half = LINE_PX // 2
        inside = self.rect().adjusted(half, half, -half, -half)
        return place.adjusted(-half, -half, half, half) & inside


class KeyboardKept:
    """Gives the keyboard to Stop while what had it is disabled, and back afterwards.

    Qt gives it to whatever comes next or, where a file's field is disabled, to nothing: then what is typed
    goes to napari, which hides a layer for a v.

    Parameters
    ----------
    panel, stop : QWidget
    """

    def __init__(self, panel: QWidget, stop: QWidget) -> None:
        self._panel, self._stop = panel, stop
        self._left: QWidget | None = None  # what had it
        self._lent: QWidget | None = None  # what has it meanwhile

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within this, parts of the panel are enabled and disabled."""
        # What the application has is nothing while another program is active; the window knows its own.
        window, user = self._panel.window(), QApplication.focusWidget()
        before = window.focusWidget()
        yield
        if self._has(before) and not before.isEnabled():
            if before is not self._stop:
                self._left = before
            if self._stop.isEnabled():
                self._stop.setFocus()
            self._lent = window.focusWidget()
        left = self._left
        if left is None or not self._has(left):
            self._left = None
        elif left.isEnabled():
            if window.focusWidget() in (None, self._stop, self._lent):
                left.setFocus()
            self._left = self._lent = None
        # A dock of its own can take it from the main window, which is active with it on a Mac.
        if user is not None and isalive(user) and user.window() is not window:
            user.setFocus()

    def _has(self, field: QWidget | None) -> bool:
        """Whether a field is in the panel, and not deleted."""
        return field is not None and isalive(field) and self._panel.isAncestorOf(field)
