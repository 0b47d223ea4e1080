"""One grading in the background of a viewer: worker in, painted layer and signals out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import napari.layers
import napari.viewer
from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_hmkd.errors import HmkdError
from napari_hmkd.geometry import Region
from napari_hmkd.grading import SlideGrading, open_model, start_grading
from napari_hmkd.inference import GradedBatch
from napari_hmkd.layers import heatmap_layers
from napari_hmkd.planning import GradeSettings
from napari_hmkd.slide import Slide
from napari_hmkd.widgets.notice import show_notice
from napari_hmkd.widgets.viewing import add_layers, slide_of, visible_region

_REPAINT_MS = 100


@dataclass(frozen=True)
class GradeRequest:
    """What is to be graded, and how."""

    slide: Slide
    model: str
    settings: GradeSettings


class GradeRun:
    """Grades one slide layer at a time and paints the heatmap as results arrive.

    A stopped grading is taken up where it stopped when the same request is started again.

    Signals
    -------
    progressed(tried, planned, tiles_per_second)
    failed(message)
    ended(complete)
        The worker has stopped; `complete` says whether every tile was tried.
    """

    progressed = Signal(int, int, float)
    failed = Signal(str)
    ended = Signal(bool)

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self.grading: SlideGrading | None = None
        self.heatmap_layer: napari.layers.Image | None = None
        self._viewer = viewer
        self._worker = None
        self._request: GradeRequest | None = None
        self._slide_layer: napari.layers.Image | None = None
        self._repaint = QTimer()
        self._repaint.setSingleShot(True)
        self._repaint.setInterval(_REPAINT_MS)
        self._repaint.timeout.connect(self._paint)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def running(self) -> bool:
        """Whether a worker is at work."""
        return self._worker is not None

    def start(self, layer: napari.layers.Image, model: str, settings: GradeSettings) -> None:
        """Grade a slide layer, what is in view first; does nothing while a grading runs."""
        slide = slide_of(layer)
        if self.running or slide is None:
            return
        request = GradeRequest(slide, model, settings)
        resumed = self.grading if request == self._request and self._unfinished() else None
        if resumed is None:
            self._forget()
        self._request, self._slide_layer = request, layer
        focus, view = visible_region(self._viewer, layer)
        worker = create_worker(_grade, request, resumed, focus, view, _start_thread=False)
        worker.yielded.connect(self._on_step)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        self._worker = worker
        worker.start()

    def stop(self) -> None:
        """Ask the worker to end; it does after the batch it is at."""
        if self._worker is not None:
            self._worker.quit()

    def close(self) -> None:
        """End everything: the viewer is going away."""
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._repaint.stop()
        if self._worker is not None:
            for signal in (self._worker.yielded, self._worker.errored, self._worker.finished):
                signal.disconnect()
            self._worker.quit()
            self._worker = None

    def _unfinished(self) -> bool:
        return self.grading is not None and len(self.grading.heatmap.remaining) > 0

    def _forget(self) -> None:
        """Drop the last result; its layer gives way to the next one's."""
        layer, self.heatmap_layer, self.grading = self.heatmap_layer, None, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _on_step(self, step: SlideGrading | GradedBatch) -> None:
        if isinstance(step, SlideGrading):
            self._on_started(step)
        if self.grading is None:
            return
        planned = len(self.grading.plan.tiles)
        tried = planned - len(self.grading.heatmap.remaining)
        speed = tried / self.grading.seconds if self.grading.seconds else 0.0
        if not self._repaint.isActive():
            self._repaint.start()
        self.progressed.emit(tried, planned, speed)

    def _on_started(self, grading: SlideGrading) -> None:
        self.grading = grading
        show_notice(self._viewer, grading.plan.card.notice)
        if self.heatmap_layer is None:
            (self.heatmap_layer,) = add_layers(self._viewer, heatmap_layers(grading))

    def _paint(self) -> None:
        if self.heatmap_layer is not None and self.grading is not None:
            self.heatmap_layer.data = self.grading.heatmap.expected_grade

    def _on_error(self, error: Exception) -> None:
        self.failed.emit(str(error))

    def _on_finished(self) -> None:
        self._worker = None
        self._repaint.stop()
        self._paint()
        self.ended.emit(self.grading is not None and not self._unfinished())

    def _on_layer_removed(self, event: object) -> None:
        removed = getattr(event, "value", None)
        if removed is None or removed not in (self._slide_layer, self.heatmap_layer):
            return
        if removed is self.heatmap_layer:
            self.heatmap_layer = self.grading = self._request = None
        self.stop()


def _grade(
    request: GradeRequest,
    resumed: SlideGrading | None,
    focus: tuple[float, float],
    view: Region,
) -> Iterator[SlideGrading | GradedBatch]:
    """Open the model, plan, and grade: first the grading itself, then its batches.

    napari's worker swallows a RuntimeError and never finishes, so none may leave here.
    """
    try:
        grading = resumed or start_grading(
            request.slide, open_model(request.model), request.settings
        )
        yield grading
        yield from grading.run(focus, view)
    except RuntimeError as error:
        raise HmkdError(
            f"grading {request.slide.path.name} stopped: {error}; press Grade HER2 to go on"
        ) from error
