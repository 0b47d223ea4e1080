"""Regions that a user draws over a slide: a layer of shapes is a region, called as the layer is."""

from __future__ import annotations

import napari.layers
import napari.viewer
import numpy as np

from napari_hmkd.regions import INVASIVE_TUMOUR, MarkedRegion, region_of_shapes
from napari_hmkd.widgets.viewing import lay_over, slide_of, to_level0

_COLOUR = "#ffd400"


def add_region_layer(
    viewer: napari.viewer.Viewer, slide_layer: napari.layers.Image
) -> napari.layers.Shapes:
    """A new layer over a slide to draw polygons in, called invasive tumour until it is renamed."""
    slide = slide_of(slide_layer)
    scale = slide.mpp if slide is not None and slide.mpp is not None else (1.0, 1.0)
    layer = viewer.add_shapes(
        name=INVASIVE_TUMOUR,
        edge_color=_COLOUR,
        face_color="transparent",
        edge_width=2 * scale[0],
        scale=scale,
        units=slide_layer.units[-2:],
    )
    lay_over(layer, slide_layer)
    layer.mode = "add_polygon"
    return layer


def marked_regions(
    viewer: napari.viewer.Viewer, slide_layer: napari.layers.Image
) -> tuple[MarkedRegion, ...]:
    """The regions of all layers with shapes, in the slide's level-0 px.

    Raises
    ------
    SlideError
        If all shapes of a layer are lines.
    """
    return tuple(
        region_of_shapes(layer.name, _on_slide(layer, slide_layer))
        for layer in viewer.layers
        if isinstance(layer, napari.layers.Shapes) and len(layer.data)
    )


def _on_slide(
    layer: napari.layers.Shapes, slide_layer: napari.layers.Image
) -> list[tuple[str, np.ndarray]]:
    return [
        (
            str(kind),
            np.array([to_level0(slide_layer, tuple(layer.data_to_world(one))) for one in vertices]),
        )
        for kind, vertices in zip(layer.shape_type, layer.data, strict=True)
    ]
