"""Landmarks that a user sets on an H&E slide and on its IHC: points, numbered in pairs."""

from __future__ import annotations

from typing import Any

import napari.layers
import napari.viewer
import numpy as np

from napari_hmkd.widgets.aligned_layers import LayerPair
from napari_hmkd.widgets.overlay import lay_over
from napari_hmkd.widgets.viewing import noted, require_slide

_COLOUR = "#ffd400"
_SIZE_UM, _SIZE_ON_SCREEN_PX = 40.0, (10, 24)
_TEXT = {"string": "{number:.0f}", "size": 14, "color": "black", "anchor": "lower_right"}


class LandmarkLayers:
    """A layer of points over each slide, where the n-th of one belongs to the n-th of the other.

    Points are kept in level-0 px of their slide, and go along when its layer is moved.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = viewer

    def mark(self, pair: LayerPair, hide_other: bool) -> napari.layers.Image:
        """Turn to the slide with fewer landmarks, to set some by clicks.

        Parameters
        ----------
        pair : LayerPair
        hide_other : bool
            Not where both lie side by side.

        Returns
        -------
        The slide's layer.
        """
        layers = [self.layer_of(one) or self._add(one) for one in pair]
        counts = [len(layer.data) for layer in layers]
        chosen = int(np.argmin(counts))  # the H&E where they are as many
        for number, (slide_layer, layer) in enumerate(zip(pair, layers, strict=True)):
            # It may be another layer of the slide than before, or of another pixel size: points are in px.
            lay_over(layer, slide_layer, tuple(layer.scale))
            layer.events.data.connect(_number)  # of a duplicate, too; a second time does nothing
            slide_layer.visible = layer.visible = number == chosen or not hide_other
        self._viewer.layers.selection.active = layers[chosen]
        layers[chosen].mode = "add"
        return pair[chosen]

    def show(self, pair: LayerPair) -> None:
        """Have the landmarks of both slides seen, as far as there are any."""
        for layer in map(self.layer_of, pair):
            if layer is not None:
                layer.visible = True

    def layer_of(self, slide_layer: napari.layers.Image) -> napari.layers.Points | None:
        """The landmarks' layer of a slide, None where there is none."""
        path = require_slide(slide_layer).path
        layers = self._viewer.layers
        return next((one for one in layers if noted(one).get("landmarks_of") == path), None)

    def positions_um(self, slide_layer: napari.layers.Image) -> np.ndarray:
        """A slide's landmarks (n, 2), (y, x) in um from its top left corner, in their order.

        Raises
        ------
        PixelSizeError
            If the slide's pixel size is unknown.
        """
        layer = self.layer_of(slide_layer)
        points_px = np.zeros((0, 2)) if layer is None else np.asarray(layer.data)[:, -2:]
        return (points_px + 0.5) * require_slide(slide_layer).require_mpp()

    def _add(self, slide_layer: napari.layers.Image) -> napari.layers.Points:
        slide = require_slide(slide_layer)
        mpp = slide.require_mpp()
        return self._viewer.add_points(
            ndim=2,
            name=f"landmarks ({slide.name})",
            size=_SIZE_UM / mpp[0],
            canvas_size_limits=_SIZE_ON_SCREEN_PX,
            symbol="cross",
            face_color=_COLOUR,
            features={"number": np.zeros(0)},
            text=_TEXT,
            scale=mpp,
            units=slide_layer.units[-2:],
            metadata={"napari_hmkd": {"landmarks_of": slide.path}},
        )


def _number(event: Any) -> None:
    """Number a layer's points anew, once one was added or removed."""
    layer = event.source
    numbers = np.arange(1.0, len(layer.data) + 1)
    if not np.array_equal(layer.features["number"], numbers):
        layer.features = {"number": numbers}
