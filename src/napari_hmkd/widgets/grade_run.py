"""One grading in the background of a viewer: worker in, painted layers and signals out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from threading import Event
from typing import Any

import napari.layers
import napari.viewer
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_hmkd.errors import UnsuitableSlideError
from napari_hmkd.grading import OpenModel, SlideGrading, open_model, start_grading
from napari_hmkd.inference import GradedBatch
from napari_hmkd.layers import LayerData, heatmap_layers
from napari_hmkd.map_modes import MapMode
from napari_hmkd.planning import GradeSettings
from napari_hmkd.queueing import TileQueue, View
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.result_store import default_folder
from napari_hmkd.slide import Slide, TissueMask
from napari_hmkd.widgets.drawn_layers import refill
from napari_hmkd.widgets.notice import show_notice, text_overlay, withdraw_notice
from napari_hmkd.widgets.overlay import lay_over
from napari_hmkd.widgets.pause import Pause
from napari_hmkd.widgets.result_hiding import result_hiding
from napari_hmkd.widgets.tile_run import TileRun
from napari_hmkd.widgets.tile_status import tell_tile
from napari_hmkd.widgets.tissue_run import same_tissue

_REPAINT_MS = 100
Step = OpenModel | SlideGrading | UnsuitableSlideError | GradedBatch


@dataclass(frozen=True)
class GradeRequest:
    """What is to be graded, and how; tissue of None is found first."""

    slide: Slide
    model: str
    settings: GradeSettings
    tissue: TissueMask | None = field(default=None, compare=False)
    regions: tuple[MarkedRegion, ...] = ()

    def goes_on(self, former: GradeRequest | None) -> bool:
        """Whether the results of an earlier request belong to this one."""
        return self == former and same_tissue(self.tissue, former.tissue)


class GradeRun(TileRun):
    """Grades one slide layer at a time and paints the heatmap as results arrive.

    A stopped grading is taken up where it stopped when the same request is started again, with
    the tissue that it found. The result of another slide stays in the viewer.

    Attributes
    ----------
    grading : SlideGrading or None
        The shown one.
    layers : list of napari.layers.Image
        Its heatmap first.
    mode : MapMode
        What the heatmap shows.
    has_plan : bool
        Whether the run of the moment, or the last, came as far as to show its grading.

    Signals
    -------
    painted()
        The first of a run's results are on the heatmap.
    repainted()
        The heatmap shows the results and the mode of the moment.
    ended(complete)
        The worker has stopped; `complete` says whether every tile was tried and nothing failed.
    """

    painted = Signal()
    repainted = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.grading: SlideGrading | None = None
        self.layers: list[napari.layers.Image] = []
        self._hiding = result_hiding(viewer)
        self.mode = self._painted = MapMode.EXPECTED
        self._opacity, self._awaited, self.has_plan = 0.5, False, False
        self._forewarned = ""
        self._request: GradeRequest | None = None
        self._asked: GradeRequest | None = None  # it is `_request` once there is a plan
        self._repaint = Pause(_REPAINT_MS, self._paint)

    @property
    def heatmap_layer(self) -> napari.layers.Image | None:
        """The layer of the shown grading's map, None where there is none."""
        return self.layers[0] if self.layers else None

    def start(
        self,
        layer: napari.layers.Image,
        request: GradeRequest,
        view: View,
        only_in_view: bool = False,
    ) -> None:
        """Grade a slide layer, what is in view first, or that alone; not while a grading runs."""
        if self.running:
            return
        resumed = self.grading if request.goes_on(self._request) and self.unfinished else None
        if resumed is not None:
            self._bring_into_sight()
        self._start(layer, request, resumed, TileQueue(view, only_in_view))

    def go_on(self, view: View) -> None:
        """Take the shown grading up again, for what is in view alone; it may be hidden meanwhile."""
        if self.running or self._request is None or self.slide_layer not in self._viewer.layers:
            return
        self._start(self.slide_layer, self._request, self.grading, TileQueue(view, True))

    def show(self, mode: MapMode) -> None:
        """Have the heatmap show another of its numbers."""
        self.mode = mode
        self._paint()

    def fade(self, opacity: float) -> None:
        """Draw this and later heatmaps with another opacity, in [0, 1]."""
        self._opacity = opacity
        if self.heatmap_layer is not None:
            self.heatmap_layer.opacity = opacity

    def close(self) -> None:
        """End everything: the viewer is going away."""
        super().close()
        self._repaint.stop()

    @property
    def unfinished(self) -> bool:
        """Whether the shown grading has tiles that were not tried."""
        return self.grading is not None and len(self.grading.heatmap.remaining) > 0

    def _start(
        self,
        layer: napari.layers.Image,
        request: GradeRequest,
        resumed: SlideGrading | None,
        queue: TileQueue,
    ) -> None:
        self._asked, self._awaited, self.has_plan = request, True, resumed is not None
        self._begin_on(layer, queue, f"grading {request.slide.name}", _grade, request, resumed)

    def _on_step(self, step: Step) -> None:
        if isinstance(step, UnsuitableSlideError):
            self._doubt(step)
        elif isinstance(step, OpenModel):
            self._forewarn(step.card.notice)
        elif isinstance(step, SlideGrading):
            self._take_up(step)
            self._tell()
        else:
            self._tell()

    def _tell(self) -> None:
        """Say how far the grading is, and have its results painted: the first at once, others in a while."""
        if self.grading is None:
            return
        planned, seconds = len(self.grading.plan.tiles), self.grading.seconds
        tried = planned - len(self.grading.heatmap.remaining)
        own = tried - self.grading.resumed_tiles
        self.progressed.emit(tried, planned, own / seconds if seconds else 0.0)
        if self._awaited and tried:
            self._awaited = False
            self._paint()
            self._repaint.start()  # anew: what comes next waits its turn
            self.painted.emit()
        elif not self._repaint.running:
            self._repaint.start()

    def _forewarn(self, notice: str) -> None:
        """Write a first notice before the results: to draw new letters holds the window as layers do."""
        if notice and not text_overlay(self._viewer).visible:
            show_notice(self._viewer, notice)
            self._forewarned = notice

    def _take_up(self, grading: SlideGrading) -> None:
        """Show a grading; old results of the same slide give way to a new one."""
        if self.stopping or self._asked is None:
            return
        self.slide_layer, self.has_plan = self._begun, True
        if grading is not self.grading:
            self._show(grading)
        self._request = replace(self._asked, tissue=grading.plan.tissue)
        self.planned.emit(grading, self.slide_layer)

    def _show(self, grading: SlideGrading) -> None:
        """Refill layers that the slide's results have: to remove and add some freezes the window."""
        tuples = heatmap_layers(grading, self.mode)
        fingerprint = str(grading.key["slide_fingerprint"])
        old = self._hiding.gradings_of(grading.plan.slide, fingerprint)
        by_role = {_role(layer.name): layer for layer in old}
        roles = takewhile(by_role.__contains__, (_role(look["name"]) for _, look, _ in tuples))
        self.layers, self.grading = [by_role[role] for role in roles], grading
        self._hiding.remove([layer for layer in old if layer not in self.layers])
        for layer, one in zip(self.layers, tuples, strict=False):
            refill(layer, one)
        self._bind(self.layers)
        self._bring_into_sight()
        show_notice(self._viewer, grading.plan.card.notice)
        self._complete(tuples)

    def _bring_into_sight(self) -> None:
        """Have the heatmap seen where it was hidden, and what lies under its slide over that."""
        layers = self._viewer.layers
        for layer in self.layers if self.slide_layer in layers else ():
            if layer in layers and layers.index(layer) < layers.index(self.slide_layer):
                layers.move(layers.index(layer), len(layers))
        if self.heatmap_layer is not None:
            self.heatmap_layer.visible = True

    def _paint(self) -> None:
        """Draw the results so far."""
        if self.grading is None:
            return
        tuples = heatmap_layers(self.grading, self.mode)
        for layer, (data, look, _) in zip(self.layers, tuples, strict=False):
            layer.data = data
            if layer is self.heatmap_layer and self.mode is not self._painted:
                for name in ("scale", "translate", "colormap", "contrast_limits"):
                    setattr(layer, name, look[name])
        self._complete(tuples)

    def _complete(self, tuples: list[LayerData]) -> None:
        """Add what has no layer yet: the first failed tile adds one."""
        if new := tuples[len(self.layers) :]:
            self._add(new)
        self._painted = self.mode
        self.repainted.emit()

    def _add(self, tuples: list[LayerData]) -> None:
        """Add layers of the shown grading; the first ever is its heatmap."""
        added = [napari.layers.Layer.create(*one) for one in tuples]
        if not self.layers:
            added[0].opacity = self._opacity
        self.layers += added
        self._bind(added)
        self._hiding.add(added)
        if self.layers[0] in self._viewer.layers:
            self._viewer.layers.selection.active = self.layers[0]

    def _bind(self, layers: Sequence[napari.layers.Image]) -> None:
        """Have layers of the shown grading lie over its slide, and the heatmap tell its tiles."""
        for layer in layers:
            if layer is self.heatmap_layer and self.grading is not None:
                tell_tile(layer, self.grading.heatmap)
            if self.slide_layer is not None:
                lay_over(layer, self.slide_layer)

    def _on_finished(self) -> None:
        self._begun = self._asked = None
        if self._forewarned and not self.has_plan:
            withdraw_notice(self._viewer, self._forewarned)
        self._forewarned = ""
        self._repaint.stop()
        self._paint()
        self._failed |= self.grading is None or not self.has_plan or self.unfinished
        super()._on_finished()

    def _on_layer_removed(self, event: Any) -> None:
        """The shown grading may be another slide's than that which a run is opening."""
        removed = event.value
        if self._hiding.keeps(removed):
            return
        if removed is self.target:
            self.stop()
        if removed is self.heatmap_layer:
            self._forget()

    def _forget(self) -> None:
        """Let go of the shown grading and its slide; a run that makes it ends."""
        if self.has_plan:
            self.stop()
        rest, self.layers = self.layers[1:], []
        self.grading = self._request = self.slide_layer = None
        QTimer.singleShot(0, lambda: self._hiding.remove(rest))  # napari is in a removal
        self.forgotten.emit()


def _role(name: str) -> str:
    """What a layer of a grading shows: the rest of its name is the slide's, and where taken a number."""
    return name.partition(" (")[0]


def _grade(
    request: GradeRequest, resumed: SlideGrading | None, queue: TileQueue, stop: Event
) -> Iterator[Step]:
    """Open the model, plan, and grade: first the model, then the grading itself, then its batches.

    Where the slide is unsuitable, the error is a step and not raised: that is a question to the
    user, no failure.
    """
    try:
        grading = resumed
        if grading is None:
            model = open_model(request.model)
            yield model
            grading = start_grading(
                request.slide,
                model,
                request.settings,
                request.tissue,
                request.regions,
                default_folder(),
            )
        yield grading
        if not stop.is_set():
            for batch in grading.run(queue):
                yield batch
                if stop.is_set():
                    return
    except UnsuitableSlideError as doubt:
        yield doubt
