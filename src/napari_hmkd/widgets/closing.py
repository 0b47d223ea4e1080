"""A panel that its dock lets go of, as the X of napari's title bar has it do, is closed."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakMethod

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


class WhenClosed(QObject):
    """Calls a method of a panel when it is taken out of its dock; a panel that is only hidden stays there.

    napari deletes the dock then, and leaves the panel, unseen, to whoever still knows it.

    Parameters
    ----------
    panel : QWidget
    close : bound method
    """

    def __init__(self, panel: QWidget, close: Callable[[], None]) -> None:
        super().__init__(panel)
        self._close = WeakMethod(close)
        panel.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Tell of the end, and let every event pass."""
        if event.type() == QEvent.Type.ParentChange and not docked(watched):
            if (close := self._close()) is not None:
                close()
        return False


def docked(panel: QObject) -> bool:
    """Whether a panel is in a dock, seen or hidden."""
    return panel.parent() is not None
