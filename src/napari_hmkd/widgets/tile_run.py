"""What grading and predicting in the background of a viewer share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import napari.layers
import napari.viewer
from psygnal import Signal

from napari_hmkd.errors import UnsuitableSlideError
from napari_hmkd.queueing import TileQueue, View
from napari_hmkd.widgets.background import BackgroundRun


class TileRun(BackgroundRun):
    """Works on the tiles of one slide layer at a time, in an order that follows the view.

    Parameters
    ----------
    viewer : napari.viewer.Viewer

    Attributes
    ----------
    slide_layer : napari.layers.Image or None
        Whose results there are, or are to be.

    Signals
    -------
    planned(work, slide layer)
        The tiles' turn has come, or it goes on.
    doubted(message)
        Nothing was done, as the slide does not look like one for it; force would.
    progressed(tried, planned, tiles_per_second)
    forgotten()
        There are no results any more.
    """

    planned = Signal(object, object)
    doubted = Signal(str)
    progressed = Signal(int, int, float)
    forgotten = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.slide_layer: napari.layers.Image | None = None
        self._viewer = viewer
        self._begun: napari.layers.Image | None = None  # it is `slide_layer` once there is a plan
        self._queue = TileQueue()
        viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def target(self) -> napari.layers.Image | None:
        """The slide layer that is worked on or will be, or was."""
        return self.slide_layer if self._begun is None else self._begun

    def look(self, view: View, only_in_view: bool = False) -> None:
        """Go on with the tiles that are in view now."""
        self._queue.look(view, only_in_view)

    def close(self) -> None:
        """End everything: the viewer is going away."""
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        super().close()

    def _begin_on(
        self,
        layer: napari.layers.Image,
        queue: TileQueue,
        what: str,
        work: Callable[..., Iterator[Any]],
        *arguments: object,
    ) -> None:
        """Start `work(*arguments, queue, stop)`, which ends by itself once `stop` is set.

        So its readers are put away in the worker's thread: napari's worker only drops a generator.
        """
        self._begun, self._stop, self._queue = layer, Event(), queue
        self._begin(what, work, *arguments, queue, self._stop)

    def _doubt(self, doubt: UnsuitableSlideError) -> None:
        self._failed = True
        if not self.stopping:  # else nobody waits for an answer, and the slide may be gone
            self.doubted.emit(str(doubt))

    @abstractmethod
    def _on_layer_removed(self, event: Any) -> None:
        """A layer has left the window."""
