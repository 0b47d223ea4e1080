"""A slide in a pane of its own beside all other layers, seen through cameras that move together."""

from __future__ import annotations

from typing import Any

import napari.layers
import napari.viewer


class SideBySide:
    """Arranges napari's grid in two panes: all layers but the lowest ones, and these.

    napari cuts its list of layers into groups of one size, a pane for each. Counted from the top, a
    group as large as all that belongs to the first pane leaves the rest to the second.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = viewer
        self._grid = grid_of(viewer)
        self._aside: list[napari.layers.Layer] = []
        self._before: tuple[bool, tuple[int, int], int] | None = None

    @property
    def on(self) -> bool:
        """Whether there are two panes."""
        return self._before is not None

    def show(self, layer: napari.layers.Layer) -> None:
        """Bring a layer into the second pane, over those that are there; all others are in the first."""
        if layer in self._aside:
            return
        self._aside.append(layer)
        if not self.on:
            self._before = self._grid.enabled, tuple(self._grid.shape), self._grid.stride
            for event in self._changes():
                event.connect(self._arrange)
        self._arrange()
        self._grid.shape, self._grid.enabled = (1, 2), True

    def end(self) -> None:
        """Have the window as it was before."""
        if self._before is None:
            return
        for event in self._changes():
            event.disconnect(self._arrange)
        self._grid.enabled, self._grid.shape, self._grid.stride = self._before
        self._aside, self._before = [], None

    def _arrange(self, _event: object = None) -> None:
        layers = self._viewer.layers
        self._aside = [
            layer for layer in self._aside if layer in layers
        ]  # a slide's closes with it
        for place, layer in enumerate(self._aside):
            if (now := layers.index(layer)) != place:
                layers.move(now, place)
        self._grid.stride = -max(len(layers) - len(self._aside), 1)

    def _changes(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered


def grid_of(viewer: napari.viewer.Viewer) -> Any:
    """The viewer's grid, which napari 0.9 moved."""
    canvas = getattr(viewer, "canvas", None)
    return viewer.grid if canvas is None else canvas.grid
