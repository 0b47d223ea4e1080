"""Asks before a window is closed under a training run."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from qtpy.QtCore import QCoreApplication, QEvent, QObject
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QMessageBox, QWidget

STOP, KEEP = "Stop training and close", "Keep the window open"
_CLOSE_BUTTON = "QTitleBarCloseButton"  # of the title bar that napari gives a dock


class ClosingGuard(QObject):
    """Watches, while a run is under way, the ways in which its panel can go.

    A person is asked; a program that calls `viewer.close()` has decided already. Whatever the way,
    `stop` is called before the window is gone.

    Parameters
    ----------
    panel : QWidget
        The panel, in its dock or about to be.
    window : QMainWindow
        napari's window.
    closed_by_program : callable
        Whether `window` is being closed by `viewer.close()`, which cannot be refused.
    stop : callable
        Ends the run, and waits for its end.
    """

    def __init__(
        self,
        panel: QWidget,
        window: QMainWindow,
        closed_by_program: Callable[[], bool],
        stop: Callable[[], None],
    ) -> None:
        super().__init__(panel)
        self._panel, self._stop = panel, stop
        self._window = weakref.ref(window)  # the panel may outlive it
        self._closed_by_program = closed_by_program
        self._armed = self._leaving = False

    def arm(self) -> None:
        """A run begins: watch."""
        self._armed, self._leaving = True, False
        self._watch_windows()
        QApplication.instance().focusWindowChanged.connect(self._watch_windows)
        dock = self._dock()
        if dock is not None:
            self._watch_button()
            # napari makes a new title bar when the dock is moved.
            dock.topLevelChanged.connect(self._watch_button)
            dock.dockLocationChanged.connect(self._watch_button)
        QCoreApplication.instance().aboutToQuit.connect(self._stop)

    def disarm(self) -> None:
        """The run has ended: let everything close."""
        if not self._armed:
            return
        self._armed = False
        QApplication.instance().focusWindowChanged.disconnect(self._watch_windows)
        dock = self._dock()
        if dock is not None:
            dock.topLevelChanged.disconnect(self._watch_button)
            dock.dockLocationChanged.disconnect(self._watch_button)
        QCoreApplication.instance().aboutToQuit.disconnect(self._stop)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take away an event that would close the panel if the person wants to keep it."""
        if not self._armed:
            return False
        kind = event.type()
        if kind == QEvent.Type.Close and self._takes_us_along(watched):
            self._leaving = _agrees_to_stop(self._window())
            if not self._leaving:
                event.ignore()
                watched._quit_app = False  # napari's, which would make its next closing an Exit
            return not self._leaving
        if kind == QEvent.Type.MouseButtonRelease and watched.objectName() == _CLOSE_BUTTON:
            return self._keeps_dock(watched, event)
        # Not at once: napari may have a question of its own, and stay.
        if kind == QEvent.Type.Hide and watched is self._window() and not event.spontaneous():
            if self._leaving or self._closed_by_program():
                self._stop()
        return False

    def _takes_us_along(self, watched: QObject) -> bool:
        if watched is self._window():
            return not self._closed_by_program()
        # File > Exit in another of napari's windows closes all of them.
        return bool(getattr(watched, "_quit_app", False))

    def _keeps_dock(self, button: QWidget, release: QEvent) -> bool:
        if not button.rect().contains(release.pos()) or _agrees_to_stop(self._window()):
            return False
        button.setDown(False)
        return True

    def _dock(self) -> QDockWidget | None:
        above = self._panel.parentWidget()
        while above is not None and not isinstance(above, QDockWidget):
            above = above.parentWidget()
        return above

    def _watch_windows(self, _focused: object = None) -> None:
        """Watch every window, those too that are opened during the run."""
        for top in QApplication.topLevelWidgets():
            if isinstance(top, QMainWindow):
                top.installEventFilter(self)  # a second time does nothing

    def _watch_button(self, _moved: object = None) -> None:
        dock = self._dock()
        button = None if dock is None else dock.findChild(QWidget, _CLOSE_BUTTON)
        if button is not None:
            button.installEventFilter(self)


def _agrees_to_stop(window: QWidget | None) -> bool:
    """Ask the person; closing the question keeps the window."""
    question = QMessageBox(window)
    question.setIcon(QMessageBox.Icon.Question)
    question.setWindowTitle("Training is under way")
    question.setText("A network is being trained in this window.")
    question.setInformativeText("Stopped, it can go on later from its last finished epoch.")
    stop = question.addButton(STOP, QMessageBox.ButtonRole.DestructiveRole)
    keep = question.addButton(KEEP, QMessageBox.ButtonRole.RejectRole)
    question.setDefaultButton(keep)
    question.setEscapeButton(keep)
    question.exec()
    return question.clickedButton() is stop
