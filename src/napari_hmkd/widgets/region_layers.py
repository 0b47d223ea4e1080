"""Regions that a user draws over a slide: a layer of shapes is a region, called as the layer is."""

from __future__ import annotations

import napari.layers
import napari.viewer
import numpy as np

from napari_hmkd.regions import MarkedRegion, regions_of_shapes
from napari_hmkd.widgets.overlay import lay_over
from napari_hmkd.widgets.viewing import noted, require_slide, slide_of, to_level0

_COLOUR = "#ffd400"
_OUTLINE_UM = 20.0  # to be seen where a whole section is


def add_region_layer(
    viewer: napari.viewer.Viewer, slide_layer: napari.layers.Image, name: str
) -> napari.layers.Shapes:
    """A new layer over a slide to draw polygons in, called so until it is renamed."""
    slide = require_slide(slide_layer)
    scale = slide.mpp or (1.0, 1.0)
    layer = viewer.add_shapes(
        name=name,
        edge_color=_COLOUR,
        face_color="transparent",
        edge_width=_OUTLINE_UM / scale[0],
        scale=scale,
        metadata={"napari_hmkd": {"region_of": slide.path}},
        units=slide_layer.units[-2:],
    )
    lay_over(layer, slide_layer)
    layer.mode = "add_polygon"
    return layer


def marked_regions(
    viewer: napari.viewer.Viewer, slide_layer: napari.layers.Image
) -> tuple[MarkedRegion, ...]:
    """The regions that were marked on a slide, in its level-0 px.

    A layer of shapes that a user added otherwise counts where the slide is the only one; from then on it
    is that slide's, also when another is opened. Outlines that panels draw are no regions.
    """
    slide = require_slide(slide_layer)
    own = [layer for layer in region_layers(viewer) if _region_of(layer, viewer) == slide.path]
    for layer in own:
        layer.metadata["napari_hmkd"] = {"region_of": slide.path}
    return regions_of_shapes([(layer.name, _on_slide(layer, slide_layer)) for layer in own])


def shapes_of_no_slide(viewer: napari.viewer.Viewer) -> str:
    """A sentence about shapes that a user added without `add_region_layer` beside several slides; or none."""
    left = [one for one in region_layers(viewer) if one.nshapes and not noted(one)]
    names = ", ".join(f"'{layer.name}'" for layer in left)
    return (
        f"Several slides are open: the shapes of {names} count for none. Press Mark a region, and draw there."
        if names and len(_open_slides(viewer)) > 1
        else ""
    )


def region_layers(viewer: napari.viewer.Viewer) -> list[napari.layers.Shapes]:
    """The viewer's layers of shapes in the plane."""
    shapes = [layer for layer in viewer.layers if isinstance(layer, napari.layers.Shapes)]
    return [layer for layer in shapes if layer.ndim == 2]


def _region_of(layer: napari.layers.Shapes, viewer: napari.viewer.Viewer) -> object:
    """The path of the slide that a layer's shapes were drawn on."""
    slides = _open_slides(viewer)
    alone = slides.pop() if len(slides) == 1 else None
    return noted(layer).get("region_of") if noted(layer) else alone


def _open_slides(viewer: napari.viewer.Viewer) -> set[object]:
    """Their paths."""
    return {slide.path for one in viewer.layers if (slide := slide_of(one)) is not None}


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
