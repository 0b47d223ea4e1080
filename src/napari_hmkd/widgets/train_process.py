"""A command in the background of the window: lines out, an end that leaves no process behind."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Sequence
from weakref import finalize

from psygnal import Signal
from qtpy import QtCore
from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QObject, QProcess, QProcessEnvironment, Qt

GRACE_S = 8.0
_LAUNCHER = ("-m", "napari_hmkd.widgets.train_launcher")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SPARE_MS = 3000  # what the launcher takes beyond the grace period


class TrainProcess:
    """Runs one command at a time through `train_launcher`; the command ends with it, at the latest.

    Parameters
    ----------
    grace_s : float
        Seconds from the interrupt to the kill when it is stopped.

    Signals
    -------
    line(text)
        A line of standard output or standard error, without colours.
    progress(text)
        What a progress bar shows now.
    finished(exit_code, stopped)
        It has ended; `stopped` says whether that was asked for. 128 + n stands for signal n.
    """

    line = Signal(str)
    progress = Signal(str)
    finished = Signal(int, bool)

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._stopped = False
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        # The application's: when Python ends, PySide6 deletes what has no parent, in any order.
        self._process = _Launcher(QCoreApplication.instance())
        self._process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        self._process.setProcessEnvironment(_environment())
        self._process.readyReadStandardOutput.connect(self._on_output)
        self._process.finished.connect(self._on_finished)
        self._process.errorOccurred.connect(self._on_error)
        finalize(self, _let_end, self._process).atexit = False

    @property
    def running(self) -> bool:
        """Whether a command is under way."""
        return self._process.state() != QProcess.ProcessState.NotRunning

    @property
    def stopping(self) -> bool:
        """Whether the command was told to stop and has not ended yet."""
        return self.running and self._stopped

    def start(self, command: Sequence[str]) -> None:
        """Start a command: the program and its arguments. One under way is left alone."""
        if self.running:
            return
        self._stopped, self._rest = False, ""
        self._decoder.reset()
        self._process.start(sys.executable, [*_LAUNCHER, str(self._grace_s), *command])

    def stop(self) -> None:
        """Ask the command to end; return at once."""
        if self.running:
            self._stopped = True
            self._process.closeWriteChannel()

    def close(self) -> None:
        """Stop the command and wait for its end, at most the grace period and a little."""
        self.stop()
        if self.running:
            self._process.waitForFinished(int(1000 * self._grace_s) + _SPARE_MS)

    def abandon(self) -> None:
        """Stop as `close` does, without a word: whoever listened is gone."""
        for signal in (self.line, self.progress, self.finished):
            signal.disconnect()
        self.close()
        self._process.deleteLater()

    def _on_output(self) -> None:
        self._take(self._decoder.decode(bytes(self._process.readAllStandardOutput())))

    def _take(self, text: str) -> None:
        """Cut text into lines; of what a carriage return overwrites, the last is kept."""
        *lines, self._rest = (self._rest + _ESCAPES.sub("", text)).split("\n")
        for line in lines:
            self.line.emit(line.rstrip("\r").rpartition("\r")[2])
        shown = [part for part in self._rest.split("\r") if part.strip()]
        if "\r" in self._rest and shown:
            self._rest = "\r" + shown[-1]
            self.progress.emit(shown[-1])

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._on_output()
        self._take(self._decoder.decode(b"", final=True))
        if self._rest.strip():
            self._take("\n")
        # Of the launcher itself a signal's number is the code.
        by_signal = os.name == "posix" and status == QProcess.ExitStatus.CrashExit
        self.finished.emit(128 + code if by_signal else code, self._stopped)

    def _on_error(self, error: QProcess.ProcessError) -> None:
        # Any other error is followed by `finished`.
        if error == QProcess.ProcessError.FailedToStart:
            self.line.emit(self._process.errorString())
            self.finished.emit(-1, self._stopped)


class _Launcher(QProcess):
    """A process that can be told from any thread that nobody knows its command any more."""

    forgotten = QtCore.Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.forgotten.connect(self._end, Qt.ConnectionType.QueuedConnection)

    def _end(self) -> None:
        """Stop the command, and be deleted, without holding the window for it."""
        if self.state() == QProcess.ProcessState.NotRunning:
            self.deleteLater()
            return
        self.finished.connect(self.deleteLater)
        self.closeWriteChannel()


def _let_end(process: _Launcher) -> None:
    if isalive(process):
        process.forgotten.emit()


def _environment() -> QProcessEnvironment:
    """This process's, with output in UTF-8 as it comes and without colours."""
    environment = QProcessEnvironment.systemEnvironment()
    for name, value in (
        ("PYTHONUNBUFFERED", "1"), ("PYTHONIOENCODING", "utf-8"), ("NO_COLOR", "1"),
        ("COLUMNS", "100"),
    ):  # fmt: skip
        environment.insert(name, value)
    return environment
