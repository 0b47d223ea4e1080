"""A run of grading goes where the window looks, once it has come to rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari.viewer
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_hmkd.widgets.grade_run import GradeRun
from napari_hmkd.widgets.viewing import camera, visible_region

_REST_MS = 150


class Following:
    """Tells a run what is in view now, and takes it up again where only that is wanted.

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
        self.on = False
        self._viewer, self._run, self._may_start = viewer, run, may_start
        self._camera = camera(viewer)
        self._rest = QTimer()
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self.catch_up)
        for event in self._moves():
            event.connect(self._on_move)

    def catch_up(self) -> None:
        """Grade what is looked at now: next, or, if only that is wanted, alone."""
        run = self._run
        layer, grading = run.target, run.grading
        if layer is None or layer not in self._viewer.layers or run.stopping:
            return
        view = visible_region(self._viewer, layer)
        if run.running:
            run.look(view, self.on)
        elif self.on and grading is not None and self._may_start():
            left = grading.heatmap.remaining
            if grading.plan.grid.meets(left, view[1]).any():
                run.go_on(view)
                self.resumed.emit()

    def close(self) -> None:
        """Follow no more."""
        self.on = False
        for event in self._moves():
            event.disconnect(self._on_move)
        self._rest.stop()

    def _moves(self) -> tuple[Any, ...]:
        return self._camera.events.center, self._camera.events.zoom

    def _on_move(self, _event: object = None) -> None:
        self._rest.start()
