"""The list of a viewer's slides, as every panel shows it."""

from __future__ import annotations

from typing import Any

import napari.layers
import napari.viewer
from magicgui.widgets import ComboBox

from napari_hmkd.slide import Slide
from napari_hmkd.widgets.slide_watch import watch_slide
from napari_hmkd.widgets.viewing import slide_layers, slide_of

NO_SLIDE = "Open a slide first: drop its file on the window, or File > Open Sample."


class SlideChoice(ComboBox):
    """A choice among the viewer's slide layers that follows them as they come and go.

    It watches each of them (`slide_watch`).

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    **options
        As a `ComboBox` takes them.
    """

    def __init__(self, viewer: napari.viewer.Viewer, **options: Any) -> None:
        self._viewer = viewer
        super().__init__(choices=self._layers, **options)
        viewer.layers.events.inserted.connect(self._refresh)
        viewer.layers.events.removed.connect(self._refresh)
        self.native.destroyed.connect(self._on_destroyed)

    @property
    def chosen(self) -> Slide | None:
        """The slide of the chosen layer, None where there is no layer."""
        return slide_of(self.value) if self.value is not None else None

    def _layers(self, _widget: object = None) -> list[napari.layers.Image]:
        layers = slide_layers(self._viewer)
        for layer in layers:
            watch_slide(layer)
        return layers

    def _refresh(self, _event: object = None) -> None:
        before = self.value
        self.reset_choices()
        if self.value is not before:
            self.changed.emit(self.value)

    def _on_destroyed(self, _widget: object = None) -> None:
        self._viewer.layers.events.inserted.disconnect(self._refresh)
        self._viewer.layers.events.removed.disconnect(self._refresh)
