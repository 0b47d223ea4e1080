"""Layers that lie over a slide, and go along when its layer is moved, turned or scaled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import napari.layers
import numpy as np

from napari_hmkd.widgets.saved_slide import may_be_of
from napari_hmkd.widgets.viewing import noted, px_to_world, slide_of

_MOVES = ("scale", "translate", "rotate", "shear", "affine")


def lay_over(
    layer: napari.layers.Layer,
    slide_layer: napari.layers.Image,
    mpp: tuple[float, float] | None = None,
) -> None:
    """Bring a layer in the slide's um to where its layer is, now and whenever that is moved.

    It is laid over one slide at a time, the last one asked for.

    Parameters
    ----------
    layer : napari.layers.Layer
    slide_layer : napari.layers.Image
    mpp : tuple of float, optional
        The slide's pixel size (y, x) that the layer's um are of; that of the moment, if left out. The
        layer stays right where another is stated later.
    """
    if (former := _ties.pop(layer, None)) is not None:
        former.cut()
    _ties[layer] = _Tie(layer, slide_layer, mpp)


def lay_results_over(layers: Sequence[napari.layers.Layer]) -> None:
    """Lay results that were read from a folder over the slide of their name and size, if one is open.

    Those that lie over one already stay there, and where there are several such slides, none is chosen.
    """
    slides = [(layer, slide) for layer in layers if (slide := slide_of(layer)) is not None]
    for layer in layers:
        about = noted(layer)
        own = [slide_layer for slide_layer, slide in slides if may_be_of(about, slide)]
        tied_to = _ties[layer].slide_layer if layer in _ties else None
        if len(own) == 1 and tied_to not in layers:
            lay_over(layer, own[0], about["slide_mpp"])


class _Tie:
    """Has a layer follow a slide's layer as long as both live: the events know it by weak references."""

    def __init__(
        self,
        layer: napari.layers.Layer,
        slide_layer: napari.layers.Image,
        mpp: tuple[float, float] | None,
    ) -> None:
        self._layer, self._slide_layer = ref(layer), ref(slide_layer)
        slide = slide_of(slide_layer)
        if mpp is None and slide is not None:
            mpp = slide.mpp
        self._mpp = np.ones(2) if mpp is None else np.array(mpp)
        for event in self._moves():
            event.connect(self.follow)
        self.follow()

    def follow(self, _event: object = None) -> None:
        """Bring the layer to where the slide's is."""
        layer, slide_layer = self._layer(), self._slide_layer()
        if layer is None or slide_layer is None:
            return
        moved = px_to_world(slide_layer) / (*self._mpp, 1)
        if not np.allclose(layer.affine.affine_matrix[-3:, -3:], moved):
            layer.affine = moved

    @property
    def slide_layer(self) -> napari.layers.Image | None:
        """What it follows, as long as that lives; it may have left the window."""
        return self._slide_layer()

    def cut(self) -> None:
        """Follow no more."""
        for event in self._moves():
            event.disconnect(self.follow)

    def _moves(self) -> Iterator[Any]:
        slide_layer = self._slide_layer()
        if slide_layer is not None:
            yield from (getattr(slide_layer.events, name) for name in _MOVES)


_ties: WeakKeyDictionary[napari.layers.Layer, _Tie] = WeakKeyDictionary()
