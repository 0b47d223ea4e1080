"""Results written to files in the background of a viewer."""

from __future__ import annotations

from pathlib import Path

from napari.qt.threading import create_worker
from psygnal import Signal

from napari_hmkd.errors import OutputError
from napari_hmkd.export import write_results
from napari_hmkd.grading import SlideGrading


class SaveRun:
    """Writes the results of one grading at a time.

    Signals
    -------
    saved(folder)
    failed(message)
    ended()
        The worker has stopped, either way.
    """

    saved = Signal(Path)
    failed = Signal(str)
    ended = Signal()

    def __init__(self) -> None:
        self._worker = None

    @property
    def running(self) -> bool:
        """Whether a worker is at work."""
        return self._worker is not None

    def start(self, grading: SlideGrading, folder: Path) -> None:
        """Write to a folder; the grading must not be run meanwhile."""
        worker = create_worker(_write, grading, folder, _start_thread=False)
        worker.returned.connect(self.saved.emit)
        worker.errored.connect(lambda error: self.failed.emit(str(error)))
        worker.finished.connect(self._on_finished)
        self._worker = worker
        worker.start()

    def close(self) -> None:
        """End everything but the writing: the viewer is going away."""
        if self._worker is not None:
            for signal in (self._worker.returned, self._worker.errored, self._worker.finished):
                signal.disconnect()
            self._worker = None

    def _on_finished(self) -> None:
        self._worker = None
        self.ended.emit()


def _write(grading: SlideGrading, folder: Path) -> Path:
    """`write_results` for a worker, which would swallow a RuntimeError and never finish."""
    try:
        write_results(grading, folder)
    except RuntimeError as error:
        raise OutputError(f"writing results to {folder} failed: {error}; try again") from error
    return folder
