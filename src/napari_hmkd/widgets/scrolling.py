"""A panel that scrolls where its dock is lower than it: it neither cuts its texts nor stretches the window."""

from __future__ import annotations

from magicgui.widgets import Container
from qtpy.QtCore import QEvent, QObject, QSize
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

_LEAST_PX = 250  # a few of its fields


def scroll(panel: Container) -> None:
    """Have all that a panel has laid out scroll in its place."""
    outer, content = panel.native, QWidget()
    content.setLayout(outer.layout())  # which takes the fields along
    QVBoxLayout(outer).setContentsMargins(0, 0, 0, 0)
    outer.layout().addWidget(_Scrolled(content))


class _Scrolled(QScrollArea):
    """As wide as its content at least."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidget(content)
        self.setWidgetResizable(True)

    def minimumSizeHint(self) -> QSize:
        """The content's width, and a height that leaves room for other panels."""
        content, frame = self.widget().minimumSizeHint(), 2 * self.frameWidth()
        width = content.width() + self.verticalScrollBar().sizeHint().width() + frame
        return QSize(width, min(content.height() + frame, _LEAST_PX))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take up that the content wants another size."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)
