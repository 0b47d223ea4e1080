"""The list of a viewer's slides, as every panel shows it."""

from __future__ import annotations

from typing import Any

import napari.layers
import napari.viewer
from magicgui.widgets import ComboBox

from napari_hmkd.slide import Slide
from napari_hmkd.widgets.notice import keep_narrow
from napari_hmkd.widgets.slide_watch import watch_slide
from napari_hmkd.widgets.viewing import slide_layers, slide_of

NO_SLIDE = "Open a slide first: drop its file on the window, or File > Open Sample."


class SlideChoice(ComboBox):
    """A choice among the viewer's slide layers that follows them as they come and go.

    It watches each of them (`slide_watch`). Until the user has chosen, a slide that is hidden gives way
    to one that is seen: the sample's IHC comes first.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    **options
        As a `ComboBox` takes them.
    """

    value: Any  # a slide layer, or None

    def __init__(self, viewer: napari.viewer.Viewer, **options: Any) -> None:
        self._viewer = viewer
        self._by_hand = False  # whether the user has chosen what is chosen
        super().__init__(choices=self._layers, **options)
        keep_narrow(self)
        self.changed.connect(self._on_chosen)
        viewer.layers.events.inserted.connect(self.reset_choices)
        viewer.layers.events.removed.connect(self.reset_choices)
        self.native.destroyed.connect(self._on_destroyed)

    @property
    def chosen(self) -> Slide | None:
        """The slide of the chosen layer, None where there is no layer."""
        return slide_of(self.value) if self.value is not None else None

    def reset_choices(self, *_: Any) -> None:
        """List the slides anew; the chosen one stays so, whatever it is called by now.

        magicgui knows choices by their names alone, and napari calls this for every panel in a dock.
        """
        before = self.value
        with self.changed.blocked():
            super().reset_choices()
            if before in self.choices:
                self.value = before
            by_hand = self._by_hand and self.value is before
            if not by_hand and self.enabled:
                self._turn_to_visible()
        if self.value is not before:
            self.changed.emit(self.value)
        self._by_hand = by_hand

    def _layers(self, _widget: object = None) -> list[napari.layers.Image]:
        layers = slide_layers(self._viewer)
        for layer in layers:
            watch_slide(layer)
            layer.events.name.connect(self.reset_choices)  # a second time does nothing
        return layers

    def _turn_to_visible(self) -> None:
        if self.value is None or self.value.visible:
            return
        visible = (layer for layer in slide_layers(self._viewer) if layer.visible)
        if (first := next(visible, None)) is not None:
            self.value = first

    def _on_chosen(self, _layer: object = None) -> None:
        self._by_hand = True

    def _on_destroyed(self, _widget: object = None) -> None:
        self._viewer.layers.events.inserted.disconnect(self.reset_choices)
        self._viewer.layers.events.removed.disconnect(self.reset_choices)
        for layer in slide_layers(self._viewer):
            layer.events.name.disconnect(self.reset_choices)
