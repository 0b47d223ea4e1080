"""Results written to files in the background of a viewer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from psygnal import Signal

from napari_hmkd.export import write_results
from napari_hmkd.grading import SlideGrading
from napari_hmkd.widgets.background import BackgroundRun


class SaveRun(BackgroundRun):
    """Writes the results of one grading at a time.

    Signals
    -------
    saved(folder)
    """

    saved = Signal(Path)

    def start(self, grading: SlideGrading, folder: Path) -> None:
        """Write to a folder; the grading must not be run meanwhile."""
        self._begin(f"writing results to {folder}", _write, grading, folder)

    def _on_step(self, folder: Path) -> None:
        self.saved.emit(folder)


def _write(grading: SlideGrading, folder: Path) -> Iterator[Path]:
    write_results(grading, folder)
    yield folder
