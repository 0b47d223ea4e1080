"""Results written to files in the background of a viewer, and what is asked about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from magicgui.widgets import ComboBox
from psygnal import Signal

from napari_hmkd.export import write_results
from napari_hmkd.geometry import Origin
from napari_hmkd.grading import SlideGrading
from napari_hmkd.widgets.background import BackgroundRun

_ORIGINS: list[tuple[str, Origin]] = [
    ("the shown slide's corner", "slide"),
    ("the file's corner", "file"),
]


class OriginChoice(ComboBox):
    """Where the saved GeoJSON counts from; hidden while there is nothing to choose."""

    def __init__(self) -> None:
        super().__init__(label="GeoJSON counts from", choices=_ORIGINS, visible=False)

    def offer(self, grading: SlideGrading | None) -> None:
        """Show it if the grading's slide does not begin where its file does."""
        self.visible = grading is not None and grading.plan.slide.origin_px != (0, 0)


class SaveRun(BackgroundRun):
    """Writes the results of one grading at a time.

    Signals
    -------
    saved(folder)
    """

    saved = Signal(Path)

    def start(self, grading: SlideGrading, folder: Path, geojson_origin: Origin) -> None:
        """Write to a folder; the grading must not be run meanwhile."""
        self._begin(f"writing results to {folder}", _write, grading, folder, geojson_origin)

    def _on_step(self, folder: Path) -> None:
        self.saved.emit(folder)


def _write(grading: SlideGrading, folder: Path, geojson_origin: Origin) -> Iterator[Path]:
    write_results(grading, folder, geojson_origin)
    yield folder
