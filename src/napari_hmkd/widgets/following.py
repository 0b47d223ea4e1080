"""A run goes where the window looks, once it has come to rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari.viewer
from psygnal import Signal

from napari_hmkd.queueing import View
from napari_hmkd.widgets.grade_run import GradeRun
from napari_hmkd.widgets.pause import Pause
from napari_hmkd.widgets.tile_run import TileRun
from napari_hmkd.widgets.viewing import camera, visible_region

_REST_MS = 150


class ViewFirst:
    """Tells a run what is in view now.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    run : TileRun
    """

    def __init__(self, viewer: napari.viewer.Viewer, run: TileRun) -> None:
        self._viewer, self._looking = viewer, run
        self._camera = camera(viewer)
        self._rest = Pause(_REST_MS, self.catch_up)
        for event in self._moves():
            event.connect(self._on_move)

    def catch_up(self) -> None:
        """Have what is looked at now come next."""
        layer = self._looking.target
        if layer is not None and layer in self._viewer.layers and not self._looking.stopping:
            self._see(visible_region(self._viewer, layer))

    def close(self) -> None:
        """Follow no more."""
        for event in self._moves():
            event.disconnect(self._on_move)
        self._rest.stop()

    def _see(self, view: View) -> None:
        if self._looking.running:
            self._looking.look(view)

    def _moves(self) -> tuple[Any, ...]:
        return self._camera.events.center, self._camera.events.zoom

    def _on_move(self, _event: object = None) -> None:
        self._rest.start()


class Following(ViewFirst):
    """Tells a run of grading what is in view now, and takes it up again where only that is wanted.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    run : GradeRun
    may_start : callable
        Whether a run may begin now.

    Attributes
    ----------
    on : bool
        Whether only what is in view is graded.

    Signals
    -------
    resumed()
        The run goes on with a part that has come into view.
    """

    resumed = Signal()

    def __init__(
        self, viewer: napari.viewer.Viewer, run: GradeRun, may_start: Callable[[], bool]
    ) -> None:
        super().__init__(viewer, run)
        self.on = False
        self._run, self._may_start = run, may_start

    def close(self) -> None:
        """Follow no more."""
        self.on = False
        super().close()

    def _see(self, view: View) -> None:
        run, grading = self._run, self._run.grading
        if run.running:
            run.look(view, self.on)
        elif self.on and grading is not None and self._may_start():
            left = grading.heatmap.remaining
            if grading.plan.grid.meets(left, view[1]).any():
                run.go_on(view)
                self.resumed.emit()
