"""Word of where a window looks, once it has come to rest."""

from __future__ import annotations

from typing import Any

import napari.viewer
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_hmkd.widgets.viewing import camera

_REST_MS = 150


class ViewFollower:
    """Tells that the camera was moved or zoomed, and has rested for a moment since.

    Signals
    -------
    moved()
    """

    moved = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._camera = camera(viewer)
        self._rest = QTimer()
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self.moved.emit)
        for event in self._events():
            event.connect(self._on_move)

    def close(self) -> None:
        """Follow no more."""
        self._rest.stop()
        for event in self._events():
            event.disconnect(self._on_move)

    def _events(self) -> tuple[Any, ...]:
        return self._camera.events.center, self._camera.events.zoom

    def _on_move(self, _event: object = None) -> None:
        self._rest.start()
