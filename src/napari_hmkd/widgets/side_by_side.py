"""A slide in a pane of its own beside all other layers, seen through cameras that move together."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import napari.layers
import napari.viewer
from psygnal import Signal
from qtpy.QtWidgets import QMainWindow


def side_by_side(viewer: napari.viewer.Viewer) -> SideBySide:
    """The panes of a window, which all its panels share."""
    window = viewer.window._qt_window
    if window not in _panes:
        _panes[window] = SideBySide(viewer)
    return _panes[window]


class SideBySide:
    """Arranges napari's grid in two panes: all layers but the lowest ones, and these.

    napari cuts its list of layers into groups of one size, a pane for each. Counted from the top, a
    group as large as all that belongs to the first pane leaves the rest to the second.

    Parameters
    ----------
    viewer : napari.viewer.Viewer

    Signals
    -------
    changed()
        Another layer has a pane of its own, or none any more.
    """

    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._layers = viewer.layers  # the viewer itself would keep its window
        self._grid = grid_of(viewer)
        self._aside: list[napari.layers.Layer] = []
        self._before: tuple[bool, tuple[int, int], int] | None = None
        self._users: WeakSet[Hashable] = WeakSet()

    @property
    def on(self) -> bool:
        """Whether there are two panes."""
        return self._before is not None

    def shows(self, layer: napari.layers.Layer | None) -> bool:
        """Whether a layer has the second pane."""
        return self.on and self._aside[:1] == [layer]

    def begin(self, layer: napari.layers.Layer) -> None:
        """Give a layer the second pane in place of what is there; all others are in the first."""
        if self.shows(layer):
            return
        if not self.on:
            self._before = self._grid.enabled, tuple(self._grid.shape), self._grid.stride
            for event in self._changes():
                event.connect(self._arrange)
        self._aside = [layer]
        self._arrange()
        self._grid.shape, self._grid.enabled = (1, 2), True
        self.changed.emit()

    def add(self, layer: napari.layers.Layer) -> None:
        """Bring a layer into the second pane, if there is one, over those that are there."""
        if self.on and layer not in self._aside:
            self._aside.append(layer)
            self._arrange()

    def end(self) -> None:
        """Have the window as it was before."""
        if self._before is None:
            return
        for event in self._changes():
            event.disconnect(self._arrange)
        self._grid.enabled, self._grid.shape, self._grid.stride = self._before
        self._aside, self._before = [], None
        self.changed.emit()

    def enter(self, user: Hashable) -> None:
        """Count a user, as long as it lives or until it leaves."""
        self._users.add(user)

    def leave(self, user: Hashable) -> None:
        """Count a user no more; the panes end with the last."""
        self._users.discard(user)
        if not self._users:
            self.end()

    def _arrange(self, _event: object = None) -> None:
        if not self.on:
            return  # they ended earlier in the same emission
        layers = self._layers
        if self._aside[0] not in layers:
            self.end()  # a slide's closes with it
            return
        self._aside = [layer for layer in self._aside if layer in layers]
        for place, layer in enumerate(self._aside):
            if (now := layers.index(layer)) != place:
                layers.move(now, place)
        self._grid.stride = -max(len(layers) - len(self._aside), 1)

    def _changes(self) -> tuple[Any, ...]:
        events = self._layers.events
        return events.inserted, events.removed, events.reordered


def grid_of(viewer: napari.viewer.Viewer) -> Any:
    """The viewer's grid, which napari 0.9 moved."""
    canvas = getattr(viewer, "canvas", None)
    return viewer.grid if canvas is None else canvas.grid


_panes: WeakKeyDictionary[QMainWindow, SideBySide] = WeakKeyDictionary()
