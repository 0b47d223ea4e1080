"""Results that a reader may not see yet are kept out of a window.

It is not enough that their layers are invisible: the list of layers has a small picture of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import napari.layers
import napari.viewer
from napari.utils.notifications import show_info
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QMainWindow

from napari_hmkd.layers import GRADING
from napari_hmkd.slide import Slide
from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.viewing import noted, slide_layers, slide_of

_HIDDEN = (
    "The model's results are hidden until you have scored their slide: see the panel Reader study."
)


def result_hiding(viewer: napari.viewer.Viewer) -> ResultHiding:
    """The hiding of results in a window, which begins with the first call."""
    window = viewer.window._qt_window
    if window not in _hidings:
        _hidings[window] = ResultHiding(viewer)
    return _hidings[window]


class ResultHiding:
    """Takes layers of results out of a window as long as `blinding` hides them, whoever added them.

    One with `result_of` in its metadata belongs to the slide of that path. One that was read from a
    folder names its slide alone, and is hidden, too, where an open slide of that name is not scored.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = ref(viewer)
        self._kept: list[napari.layers.Layer] = []
        viewer.layers.events.inserted.connect(self._on_inserted)
        blinding.changed.connect(self.obey)
        viewer.window._qt_window.destroyed.connect(self._on_destroyed)

    def add(self, layers: Sequence[napari.layers.Layer]) -> None:
        """Add layers of results to the window, on top, now or once they may be seen."""
        viewer = self._viewer()
        if viewer is None:
            return
        for layer in layers:
            if self._hides(layer, viewer):
                self._kept.append(layer)
            else:
                viewer.add_layer(layer)

    def keeps(self, layer: napari.layers.Layer) -> bool:
        """Whether a layer of results waits until it may be seen."""
        return layer in self._kept

    def gradings_of(self, slide: Slide, fingerprint: str) -> list[napari.layers.Layer]:
        """The layers of gradings of a slide, made here or read from a folder, hidden or not.

        A folder's are the slide's by their fingerprint. Duplicates are left out: they are made to be kept.
        """
        viewer = self._viewer()
        layers = [*(() if viewer is None else viewer.layers), *self._kept]
        return [layer for layer in layers if _grades(layer, slide, fingerprint)]

    def remove(self, layers: Sequence[napari.layers.Layer]) -> None:
        """Take layers of results away for good."""
        viewer = self._viewer()
        self._kept = [layer for layer in self._kept if layer not in layers]
        for layer in layers:
            if viewer is not None and layer in viewer.layers:
                viewer.layers.remove(layer)

    def obey(self) -> None:
        """Take out what is hidden by now, and put back what is not; the lowest of it gets active."""
        viewer = self._viewer()
        if viewer is None:
            return
        self._take_out(viewer)
        shown = [layer for layer in self._kept if not self._hides(layer, viewer)]
        self._kept = [layer for layer in self._kept if layer not in shown]
        self.add(shown)
        if shown:
            viewer.layers.selection.active = shown[0]

    def _take_out(self, viewer: napari.viewer.Viewer) -> list[napari.layers.Layer]:
        hidden = [layer for layer in viewer.layers if self._hides(layer, viewer)]
        self._kept += hidden  # first: whoever hears of the removal can tell that it is none
        for layer in hidden:
            viewer.layers.remove(layer)
        if hidden:
            viewer.status = "Ready"  # it has the value that was under the cursor last
        return hidden

    def _hides(self, layer: napari.layers.Layer, viewer: napari.viewer.Viewer) -> bool:
        about = noted(layer)
        if "result_of" in about:
            return blinding.hides(about["result_of"])
        if "slide_name" not in about:
            return False
        name = about["slide_name"]
        slides = [slide for one in slide_layers(viewer) if (slide := slide_of(one)) is not None]
        doubtful = any(blinding.hides(slide.path) for slide in slides if slide.name == name)
        return doubtful or blinding.hides_name(name)

    def _on_inserted(self, event: Any) -> None:
        """A layer that comes in is not seen, and is taken out once napari has done with adding it."""
        layer, viewer = event.value, self._viewer()
        if viewer is None:
            return
        if slide_of(layer) is not None:  # it may be the one that a folder was written for
            QTimer.singleShot(0, self.obey)
        if not self._hides(layer, viewer):
            return
        was_visible, layer.visible = layer.visible, False

        def take_out() -> None:
            viewer = self._viewer()
            if viewer is not None and self._take_out(viewer):
                show_info(_HIDDEN)
            layer.visible = was_visible

        QTimer.singleShot(0, take_out)

    def _on_destroyed(self, _window: object = None) -> None:
        blinding.changed.disconnect(self.obey)


def _grades(layer: napari.layers.Layer, slide: Slide, fingerprint: str) -> bool:
    about = noted(layer)
    if about.get("kind") != GRADING or layer.source.parent is not None:  # a user's duplicate
        return False
    if "result_of" in about:
        return bool(about["result_of"] == slide.path)
    return bool(about["saved_slide"].fingerprint == fingerprint)


_hidings: WeakKeyDictionary[QMainWindow, ResultHiding] = WeakKeyDictionary()
