"""Layers that are refilled and moved in place of being added again, in a fixed order over a slide."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import napari.layers
import napari.viewer
import numpy as np

from napari_hmkd.layers import LayerData
from napari_hmkd.widgets.overlay import lay_over
from napari_hmkd.widgets.result_hiding import result_hiding
from napari_hmkd.widgets.tile_status import leave_out_nan

_PLACE = ("name", "scale", "translate")
_IMAGE = (*_PLACE, "colormap", "contrast_limits_range", "contrast_limits")
_SHAPES = (*_PLACE, "edge_width")


class DrawnLayers:
    """A layer for each role, which lies over a slide and goes along with it.

    What a user changes about a layer, such as its opacity, is kept when it is drawn again; one that the
    user has removed is added anew.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    roles : sequence of str
        From the lowest layer to the uppermost.
    with_bar : collection of str
        Those whose images have napari's bar of their colours, for a user to switch off.
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        roles: Sequence[str],
        with_bar: Collection[str] = (),
    ) -> None:
        self._viewer, self._roles, self._with_bar = viewer, tuple(roles), with_bar
        self._hiding = result_hiding(viewer)
        self._layers: dict[str, napari.layers.Layer] = {}

    def get(self, role: str) -> napari.layers.Layer | None:
        """The layer of a role, None where there is none."""
        layer = self._layers.get(role)
        here = layer is not None and (layer in self._viewer.layers or self._hiding.keeps(layer))
        return layer if here else None

    def draw(self, role: str, one: LayerData, slide_layer: napari.layers.Image) -> None:
        """Bring the layer of a role to what `one` says; the active layer stays it.

        Whether it is visible, and how opaque, counts where it is new.
        """
        layer = self.get(role)
        if layer is None:
            layer = self._layers[role] = napari.layers.Layer.create(*one)
            if isinstance(layer, napari.layers.Image):
                leave_out_nan(layer)
                layer.colorbar.visible = role in self._with_bar
                layer.colorbar.position = "bottom_right"  # above it is the model's notice
            self._add(role, layer)
        else:
            refill(layer, one)
        lay_over(layer, slide_layer)

    def remove(self, *roles: str) -> None:
        """Take the layers of roles away."""
        for role in roles:
            if (layer := self.get(role)) is not None:
                self._hiding.remove([layer])
            self._layers.pop(role, None)

    def _add(self, role: str, layer: napari.layers.Layer) -> None:
        layers, active = self._viewer.layers, self._viewer.layers.selection.active
        above = self._roles[self._roles.index(role) + 1 :]
        known = [one for other in above if (one := self.get(other)) in layers]
        layers.insert(min(map(layers.index, known), default=len(layers)), layer)
        layers.selection.active = active


def refill(layer: napari.layers.Layer, one: LayerData) -> None:
    """Give a layer new data, place and look; only what is new, as each takes napari its time."""
    data, kwargs, kind = one
    if kind == "image" or not np.array_equal(layer.data, data):
        layer.data = data
    look = dict(kwargs)
    if kind == "image":
        look["contrast_limits_range"] = kwargs["contrast_limits"]
    for name in _IMAGE if kind == "image" else _SHAPES:
        if not _is_so(layer, name, look[name]):
            setattr(layer, name, look[name])
    layer.metadata = kwargs["metadata"]


def _is_so(layer: napari.layers.Layer, name: str, value: Any) -> bool:
    if name == "colormap":
        wanted = value["name"] if isinstance(value, dict) else value
        return bool(layer.colormap.name == wanted)
    return np.array_equal(getattr(layer, name), value)
