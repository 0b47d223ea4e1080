"""A panel that scrolls where its dock is lower than it: it neither cuts its texts nor stretches the window."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QScrollArea,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_hmkd.widgets.font_size import FontSize
from napari_hmkd.widgets.keyboard_focus import FocusRing

_LEAST_PX = 120  # a few of its fields: a laptop's screen holds four panels
_TURNED_BY_WHEEL = (QComboBox, QAbstractSpinBox, QSlider)


def scroll(panel: QWidget) -> None:
    """Have all that a panel has laid out by now scroll in its place; room that is left stays below it.

    The wheel scrolls wherever it turns: over a field it would change that unseen. A line shows which field
    has the keyboard.
    """
    content = _Content()
    content.setLayout(panel.layout())  # which takes the fields along
    content.layout().addStretch()
    FontSize(content)
    QVBoxLayout(panel).setContentsMargins(0, 0, 0, 0)
    panel.layout().addWidget(_Scrolled(content))


def bring_into_sight(widget: QWidget) -> None:
    """Scroll the panel that a widget is in, if it scrolls, to where the widget is seen."""
    above = widget.parentWidget()
    while above is not None and not isinstance(above, _Scrolled):
        above = above.parentWidget()
    if above is not None:
        above.turn_to(widget)


class _Content(QWidget):
    """Scrolls only once what can shrink in it, such as a plot, has shrunk."""

    def heightForWidth(self, width: int) -> int:
        """The least height, where by default it is the preferred one."""
        return self.layout().minimumHeightForWidth(width)


class _Scrolled(QScrollArea):
    """As wide as its content at least."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setAccessibleName("panel")
        self._wanted: QWidget = content
        # PySide6 has QTimer.singleShot call what was deleted meanwhile.
        self._soon = QTimer(self, singleShot=True, timeout=self._turn)
        self._ring = FocusRing(content)
        for field in content.findChildren(QWidget):
            if isinstance(field, _TURNED_BY_WHEEL) or field.focusPolicy() & Qt.FocusPolicy.TabFocus:
                field.installEventFilter(self)

    def turn_to(self, widget: QWidget) -> None:
        """Scroll to a part of the content, which may only just have been shown: it has its place later."""
        self._wanted = widget
        self._soon.start(0)

    def _turn(self) -> None:
        self.ensureWidgetVisible(self._wanted)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show that the arrow keys scroll all of it."""
        super().focusInEvent(event)
        self._ring.go_round(self.widget())

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """They do no more."""
        super().focusOutEvent(event)
        self._ring.go_round(None)

    def minimumSizeHint(self) -> QSize:
        """The content's width, and a height that leaves room for other panels."""
        content, frame = self.widget().minimumSizeHint(), 2 * self.frameWidth()
        width = content.width() + self.verticalScrollBar().sizeHint().width() + frame
        return QSize(width, min(content.height() + frame, _LEAST_PX))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take up the size that the content wants, the field with the keyboard, and the wheel over one."""
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        if isinstance(watched, _TURNED_BY_WHEEL) and event.type() == QEvent.Type.Wheel:
            self.wheelEvent(event)
            return True
        if event.type() == QEvent.Type.FocusIn:
            self._ring.go_round(watched)
        elif event.type() == QEvent.Type.FocusOut:
            self._ring.go_round(None)
        return super().eventFilter(watched, event)
