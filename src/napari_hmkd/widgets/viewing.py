"""Slides in a viewer: which layers are slides, and what of one is on screen."""

from __future__ import annotations

from typing import Any

import napari.layers
import napari.viewer
import numpy as np

from napari_hmkd.geometry import Region
from napari_hmkd.layers import LayerData, slide_layer
from napari_hmkd.queueing import View
from napari_hmkd.slide import Slide


def camera(viewer: napari.viewer.Viewer) -> Any:
    """The viewer's camera, which napari 0.9 moved."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def slide_of(layer: napari.layers.Layer) -> Slide | None:
    """The open slide that a layer shows, None for any other layer."""
    return layer.metadata.get("napari_hmkd", {}).get("slide")


def slide_layers(viewer: napari.viewer.Viewer) -> list[napari.layers.Image]:
    """The viewer's layers that show slides, the topmost first."""
    return [layer for layer in reversed(viewer.layers) if slide_of(layer) is not None]


def add_layers(viewer: napari.viewer.Viewer, tuples: list[LayerData]) -> list[napari.layers.Layer]:
    """Add layer tuples to a viewer, on top, and give the layers."""
    return [viewer.add_layer(napari.layers.Layer.create(*one)) for one in tuples]


def add_above(
    viewer: napari.viewer.Viewer, below: napari.layers.Layer, one: LayerData
) -> napari.layers.Layer:
    """Add a layer tuple to a viewer, right above another layer, and give the layer.

    The layer that is active stays it.
    """
    layer, active = napari.layers.Layer.create(*one), viewer.layers.selection.active
    viewer.layers.insert(viewer.layers.index(below) + 1, layer)
    viewer.layers.selection.active = active
    return layer


def lay_over(layer: napari.layers.Layer, slide_layer: napari.layers.Image) -> None:
    """Bring a layer in the slide's um to where the user has moved, turned or scaled the slide's layer."""
    slide = slide_of(slide_layer)
    own = np.ones(2) if slide is None or slide.mpp is None else np.array(slide.mpp)
    origin, down, right = (
        np.asarray(slide_layer.data_to_world(place))[-2:] for place in ((0, 0), (1, 0), (0, 1))
    )
    moved = np.eye(3)
    moved[:2, :2] = np.column_stack([down - origin, right - origin]) / own
    moved[:2, 2] = origin
    if not np.allclose(layer.affine.affine_matrix[-3:, -3:], moved):
        layer.affine = moved


def state_pixel_size(viewer: napari.viewer.Viewer, layer: napari.layers.Image, mpp: float) -> Slide:
    """Give a slide layer the pixel size that its file lacks, and bring it to true scale.

    The camera goes along, so that what is on screen stays there, and so do the regions marked on it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    layer : napari.layers.Image
        A slide's layer.
    mpp : float
        Pixel size of level 0, um/px.

    Raises
    ------
    PixelSizeError
        If the size is implausible.
    """
    slide = slide_of(layer)
    if slide is None:
        raise ValueError(f"{layer.name} shows no slide")
    stated = slide.with_mpp(mpp)
    _, kwargs, _ = slide_layer(stated)
    growth = mpp / float(layer.scale[0])
    view = camera(viewer)
    center, zoom = view.center, view.zoom
    layer.scale, layer.units = kwargs["scale"], kwargs["units"]
    view.center = tuple(growth * value for value in center)
    view.zoom = zoom / growth
    layer.metadata = kwargs["metadata"]
    for drawn in viewer.layers:
        ours = drawn.metadata.get("napari_hmkd", {})
        if ours.get("region_of") == slide.path:
            drawn.scale, drawn.translate = drawn.scale * growth, drawn.translate * growth
            drawn.units = kwargs["units"]
    return stated


def to_level0(layer: napari.layers.Layer, world: tuple[float, ...]) -> tuple[float, float]:
    """A world position as (y, x) in the slide's level-0 px, where (0, 0) is its top-left corner.

    napari puts 0 at the middle of the first pixel: hence half a pixel more.
    """
    y, x = np.asarray(layer.world_to_data(world))[-2:] + 0.5
    return float(y), float(x)


def same_place(
    layer: napari.layers.Layer, origin_px: tuple[float, float], other: napari.layers.Layer
) -> tuple[float, float]:
    """A level-0 position (y, x) of one slide layer as the other, registered layer's."""
    world = layer.data_to_world(np.asarray(origin_px) - 0.5)
    return to_level0(other, tuple(world))


def visible_region(viewer: napari.viewer.Viewer, layer: napari.layers.Image) -> View:
    """Middle of the view (y, x) and what is on screen, both in the slide's level-0 px."""
    corners = np.asarray(layer.corner_pixels)[:, :2]
    (top, left), (bottom, right) = corners * layer.downsample_factors[layer.data_level][:2]
    view = Region(int(top), int(left), int(bottom - top), int(right - left))
    return to_level0(layer, tuple(camera(viewer).center[-2:])), view
