"""Layers that lie over a slide, and go along when its layer is moved, turned or scaled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import napari.layers
import numpy as np

from napari_hmkd.widgets.viewing import slide_of

_MOVES = ("scale", "translate", "rotate", "shear", "affine")


def lay_over(layer: napari.layers.Layer, slide_layer: napari.layers.Image) -> None:
    """Bring a layer in the slide's um to where its layer is, now and whenever that is moved.

    The layer's um are those of the slide's pixel size of the moment; it stays right where another is
    stated later. It is laid over one slide at a time, the last one asked for.
    """
    if (former := _ties.pop(layer, None)) is not None:
        former.cut()
    _ties[layer] = _Tie(layer, slide_layer)


def lay_results_over(layers: Sequence[napari.layers.Layer]) -> None:
    """Lay results that were read from a folder over the slide of their name, if one is open.

    Those that lie over one already stay there, and where several slides have that name, none is chosen.
    """
    slides = [(layer, slide.name) for layer in layers if (slide := slide_of(layer)) is not None]
    for layer in layers:
        named = layer.metadata.get("napari_hmkd", {}).get("slide_name")
        own = [slide_layer for slide_layer, name in slides if name == named]
        if len(own) == 1 and not (layer in _ties and _ties[layer].holds):
            lay_over(layer, own[0])


class _Tie:
    """Has a layer follow a slide's layer as long as both live: the events know it by weak references."""

    def __init__(self, layer: napari.layers.Layer, slide_layer: napari.layers.Image) -> None:
        self._layer, self._slide_layer = ref(layer), ref(slide_layer)
        slide = slide_of(slide_layer)
        self._mpp = np.ones(2) if slide is None or slide.mpp is None else np.array(slide.mpp)
        for event in self._moves():
            event.connect(self.follow)
        self.follow()

    def follow(self, _event: object = None) -> None:
        """Bring the layer to where the slide's is."""
        layer, slide_layer = self._layer(), self._slide_layer()
        if layer is None or slide_layer is None:
            return
        origin, down, right = (
            np.asarray(slide_layer.data_to_world(place))[-2:] for place in ((0, 0), (1, 0), (0, 1))
        )
        moved = np.eye(3)
        moved[:2, :2] = np.column_stack([down - origin, right - origin]) / self._mpp
        moved[:2, 2] = origin
        if not np.allclose(layer.affine.affine_matrix[-3:, -3:], moved):
            layer.affine = moved

    @property
    def holds(self) -> bool:
        """Whether the slide's layer is still there."""
        return self._slide_layer() is not None

    def cut(self) -> None:
        """Follow no more."""
        for event in self._moves():
            event.disconnect(self.follow)

    def _moves(self) -> Iterator[Any]:
        slide_layer = self._slide_layer()
        if slide_layer is not None:
            yield from (getattr(slide_layer.events, name) for name in _MOVES)


_ties: WeakKeyDictionary[napari.layers.Layer, _Tie] = WeakKeyDictionary()
