"""A moment in which nothing happens, before something does."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.compat import isalive
from qtpy.QtCore import QTimer


class Pause:
    """Calls a method once, as soon as it was not started anew for a while.

    It may be used at any time: when Python ends, PySide6 deletes timers before the panels that are left.

    Parameters
    ----------
    ms : int
    then : bound method
    """

    def __init__(self, ms: int, then: Callable[[], None]) -> None:
        self._timer = QTimer(singleShot=True, interval=ms, timeout=then)

    @property
    def running(self) -> bool:
        """Whether the call is still to come."""
        return isalive(self._timer) and self._timer.isActive()

    def start(self) -> None:
        """Begin, or begin anew."""
        if isalive(self._timer):
            self._timer.start()

    def stop(self) -> None:
        """Let the call be."""
        if isalive(self._timer):
            self._timer.stop()
