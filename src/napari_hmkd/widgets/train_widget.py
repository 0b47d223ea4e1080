"""The dock widget that trains a network in a process of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import napari.viewer
import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QTextOption
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_hmkd.errors import HmkdError
from napari_hmkd.widgets.closing import WhenClosed
from napari_hmkd.widgets.field_names import name_fields
from napari_hmkd.widgets.finished_models import finished_students
from napari_hmkd.widgets.keyboard_focus import KeyboardKept
from napari_hmkd.widgets.scrolling import scroll
from napari_hmkd.widgets.train_attention import AttentionPicture
from napari_hmkd.widgets.train_closing import ClosingGuard
from napari_hmkd.widgets.train_command import (
    PROGRAM,
    TrainRequest,
    ended_by,
    own_message,
    shell_line,
)
from napari_hmkd.widgets.train_curves import KAPPA, TrainCurves
from napari_hmkd.widgets.train_form import TrainForm
from napari_hmkd.widgets.train_process import TrainProcess
from napari_hmkd.widgets.viewing import unwrapped

_LOG_LINES = 2000
_LAST_LINES = 60
_REFRESH_MS = 1000
_HINT = "Choose data and a new folder for the run."


class TrainWidget(QWidget):
    """Choose data, network and folder; start the command; watch its curves and its log.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.
    program : sequence of str
        What runs with the arguments of `napari-hmkd-train`.
    """

    def __init__(
        self, napari_viewer: napari.viewer.Viewer, program: Sequence[str] = PROGRAM
    ) -> None:
        super().__init__()
        self._viewer, self._program = unwrapped(napari_viewer), tuple(program)
        self.form = TrainForm()
        self.process = TrainProcess()
        self.start_button, self.stop_button = QPushButton("Start"), QPushButton("Stop")
        self.status = QLabel(_HINT)
        self.curves, self.attention = TrainCurves(), AttentionPicture()
        self.log, self.command = QPlainTextEdit(), QPlainTextEdit()
        self._request: TrainRequest = self.form.request
        self._started = 0.0
        self._progress = ""
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._timer = QTimer(self, interval=_REFRESH_MS, timeout=self._refresh)
        self._lay_out()
        window = self._viewer.window
        self._guard = ClosingGuard(
            self, window._qt_window, lambda: window._qt_viewer.isHidden(), self.process.close
        )
        WhenClosed(self, self.process.close)
        self._connect()
        self._set_colours()
        self._set_running(False)
        self._on_edited()

    def _lay_out(self) -> None:
        self.status.setTextFormat(Qt.TextFormat.PlainText)  # no name in it is a tag
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        for text in (self.log, self.command):
            text.setReadOnly(True)
        self.log.setMaximumBlockCount(_LOG_LINES)
        self.log.setPlaceholderText("What the command says appears here.")
        buttons = QHBoxLayout()
        for button in (self.start_button, self.stop_button):
            buttons.addWidget(button)
        self.command.setWordWrapMode(QTextOption.WrapMode.WrapAnywhere)
        self.command.setToolTip("Copy it to train without a window, or on another machine.")
        self.tabs = QTabWidget()
        for page, name in (
            (self.curves, "Curves"),
            (self.attention, "Attention"),
            (self.log, "Log"),
            (self.command, "Command line"),
        ):
            self.tabs.addTab(page, name)
        self._offer_attention()
        layout = QVBoxLayout(self)
        layout.addWidget(self.form.native)
        layout.addLayout(buttons)
        layout.addWidget(self.status)
        layout.addWidget(self.tabs, 1)
        scroll(self)
        self._name()
        self._keyboard = KeyboardKept(self, self.stop_button)

    def _name(self) -> None:
        name_fields(self.form)
        for part, name in (
            (self.log, "log"),
            (self.command, "command line"),
            (self.tabs, "the run"),
            (self.tabs.tabBar(), "what is shown of the run"),
        ):
            part.setAccessibleName(name)

    def _connect(self) -> None:
        process = self.process
        self.start_button.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop)
        self.form.edited.connect(self._on_edited)
        process.line.connect(self._on_line)
        process.progress.connect(self._on_progress)
        process.finished.connect(self._on_finished)
        self._viewer.events.theme.connect(self._set_colours)
        self.destroyed.connect(process.abandon)

    def start(self) -> None:
        """Start the run that the fields ask for, as the button does; one under way goes on."""
        if self.process.running:
            return
        request = self.form.request
        try:
            request.check()
            arguments = request.arguments()
        except HmkdError as error:
            self._say(f"Not started: {error}.", failed=True)
            return
        self._request, self._started = request, time.monotonic()
        self._progress = ""
        self._last.clear()
        self.log.clear()
        self.curves.show_run(request.metrics)
        self.attention.show_run(request.attention)
        self._offer_attention()
        self.process.start([*self._program, *arguments])
        self._guard.arm()
        self._set_running(True)
        self._say("Starting ...")
        self._timer.start()

    def stop(self) -> None:
        """Ask the run to stop, as the button does."""
        self.process.stop()
        self.stop_button.setEnabled(False)
        self._say("Stopping ...")

    def _offer_attention(self) -> None:
        """Most runs have no such pictures, and no tab for them."""
        place = self.tabs.indexOf(self.attention)
        self.tabs.setTabVisible(place, self.attention.path is not None)

    def _refresh(self) -> None:
        self.curves.refresh()
        self.attention.refresh()
        self._offer_attention()
        if self.process.running and not self.process.stopping:
            minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
            parts = (f"Running for {minutes}:{seconds:02d}", self._epochs_said(), self._progress)
            self._say("; ".join(part for part in parts if part))

    def _epochs_said(self) -> str:
        """How far the run is, and its best score."""
        epochs, kappa = (self.curves.curves.get(name, np.empty(0)) for name in ("epoch", KAPPA))
        if not len(epochs):
            return ""
        best = f", best validation kappa {np.nanmax(kappa):.3f}" if np.isfinite(kappa).any() else ""
        return f"{int(epochs[-1])} of {self._request.epochs} epochs{best}"

    def _on_line(self, text: str) -> None:
        self._last.append(text)
        self._progress = ""
        self.log.appendPlainText(text)

    def _on_progress(self, text: str) -> None:
        self._progress = text.strip()

    def _on_finished(self, code: int, stopped: bool) -> None:
        self._timer.stop()
        self._guard.disarm()
        self._refresh()
        self._set_running(False)
        request = self._request
        done = code == 0 and request.weights.is_file()
        if done and request.role == "student":
            finished_students.add(request.weights)
            self._say(f"Done: {request.weights}. The model list of Grade HER2 offers it.")
        elif done:
            self.form.offer_teacher(request.weights)
            self._say(f"Done: {request.weights}. A student can learn from it now.")
        elif stopped or code == 0:
            self._say(f"Stopped{self._so_far()}")
        elif by := ended_by(code):
            self._say(f"Ended from outside ({by}){self._so_far()}", failed=True)
        else:
            self._say(f"Failed (exit code {code}): {own_message(list(self._last))}", failed=True)
            self.tabs.setCurrentWidget(self.log)

    def _so_far(self) -> str:
        """How far a run came that did not end, and what its folder is good for."""
        said = self._epochs_said()
        now = "It had not begun."
        if self._request.finished:
            now = "Its folder holds what it has built."
        elif self._request.resumes:
            now = "Go on continues in the same folder."
        return f"{said and ' after ' + said}. {now}"

    def _on_edited(self) -> None:
        try:
            self.command.setPlainText(shell_line([*self._program, *self.form.request.arguments()]))
        except HmkdError as error:
            self.command.setPlainText(str(error))
        self._name_start()

    def _set_running(self, running: bool) -> None:
        with self._keyboard.kept():
            self.form.set_enabled(not running)
            self.start_button.setEnabled(not running)
            self.stop_button.setEnabled(running)
        self._name_start()

    def _name_start(self) -> None:
        """Say on the button whether the folder's run goes on."""
        self.start_button.setText("Go on" if self.form.request.resumes else "Start")

    def _say(self, text: str, failed: bool = False) -> None:
        self.status.setText(text)
        self.status.setProperty("failed", failed)
        self.status.style().unpolish(self.status)
        self.status.style().polish(self.status)

    def _set_colours(self, _event: object = None) -> None:
        theme = get_theme(self._viewer.theme)
        self.curves.set_colours(theme.background.as_hex(), theme.text.as_hex())
        self.status.setStyleSheet(
            f'QLabel[failed="true"] {{ border: 2px solid {theme.error.as_hex()}; padding: 4px; }}'
        )
