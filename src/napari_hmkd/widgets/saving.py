"""Results written to files in the background of a viewer, and what is asked about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from magicgui.widgets import ComboBox
from psygnal import Signal

from napari_hmkd.export import write_results
from napari_hmkd.geometry import Origin
from napari_hmkd.grading import SlideGrading
from napari_hmkd.planning import GradePlan
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.widgets.background import BackgroundRun
from napari_hmkd.widgets.saved_slide import ResultFolder

SAVING, STILL_SAVING = "Saving ...", "Still saving: wait until it says where."
_ORIGINS: list[tuple[str, Origin]] = [
    ("the shown slide's corner", "slide"),
    ("the file's corner", "file"),
]


class OriginChoice(ComboBox):
    """Where the saved GeoJSON counts from; hidden while there is nothing to choose."""

    def __init__(self) -> None:
        super().__init__(label="GeoJSON counts from", choices=_ORIGINS, visible=False)

    def offer(self, plan: GradePlan | None) -> None:
        """Show it if the planned slide does not begin where its file does."""
        self.visible = plan is not None and plan.slide.origin_px != (0, 0)


class SaveRun(BackgroundRun):
    """Writes the results of one slide at a time.

    Signals
    -------
    saved(folder)
    """

    saved = Signal(Path)

    def start(
        self, write: Callable[..., object], results: object, folder: ResultFolder, *options: object
    ) -> None:
        """Do `write(results, folder.path, *options)`; the results must not change meanwhile.

        It fails where the folder has those of another slide.
        """
        what = f"writing results to {folder.path}"
        self._begin_once(what, _write, write, results, folder, *options)

    def _on_step(self, folder: Path) -> None:
        self.saved.emit(folder)


def write_marked(
    grading: SlideGrading, folder: Path, regions: Sequence[MarkedRegion], geojson_origin: Origin
) -> None:
    """`write_results` with the regions that are marked now."""
    grading.mark(regions)
    write_results(grading, folder, geojson_origin)


def _write(
    write: Callable[..., object], results: object, folder: ResultFolder, *options: object
) -> Path:
    folder.check_own()
    write(results, folder.path, *options)
    return folder.path
