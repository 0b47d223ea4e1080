"""Slides in a viewer: which layers are slides, and what of one is on screen."""

from __future__ import annotations

from itertools import product
from typing import Any

import napari.layers
import napari.viewer
import numpy as np
import numpy.typing as npt

from napari_hmkd.geometry import Region
from napari_hmkd.layers import LayerData, slide_layer
from napari_hmkd.queueing import View
from napari_hmkd.slide import Slide

_SHARE = 0.4  # of the canvas: as large as something is at least that one has gone to


def unwrapped(viewer: napari.viewer.Viewer) -> napari.viewer.Viewer:
    """The viewer itself. napari hands a panel a wrapper, of whose parts each look gives another object."""
    return getattr(viewer, "__wrapped__", viewer)


def camera(viewer: napari.viewer.Viewer) -> Any:
    """The viewer's camera, which napari 0.9 moved."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def noted(layer: napari.layers.Layer) -> dict[str, Any]:
    """What this plugin has noted of a layer in its metadata; empty for any other layer."""
    return layer.metadata.get("napari_hmkd", {})


def slide_of(layer: napari.layers.Layer) -> Slide | None:
    """The open slide that a layer shows, None for any other layer."""
    return noted(layer).get("slide")


def require_slide(layer: napari.layers.Image) -> Slide:
    """The open slide that a layer shows.

    Raises
    ------
    ValueError
        If it shows none.
    """
    slide = slide_of(layer)
    if slide is None:
        raise ValueError(f"{layer.name} shows no slide")
    return slide


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


def state_pixel_size(viewer: napari.viewer.Viewer, layer: napari.layers.Image, mpp: float) -> Slide:
    """Give a slide layer the pixel size that its file lacks, and bring it to true scale.

    The camera goes along, so that what is on screen stays there, and so does what lies over it.

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
    slide = require_slide(layer)
    stated = slide.with_mpp(mpp)
    _, kwargs, _ = slide_layer(stated)
    growth = mpp / float(layer.scale[0])
    view = camera(viewer)
    center, zoom = view.center, view.zoom
    layer.metadata = kwargs["metadata"]
    layer.scale, layer.units = kwargs["scale"], kwargs["units"]
    view.center = tuple(growth * value for value in center)
    view.zoom = zoom / growth
    for drawn in viewer.layers:
        if noted(drawn).get("region_of") == slide.path:
            drawn.units = kwargs["units"]
    return stated


def to_level0(layer: napari.layers.Layer, world: tuple[float, ...]) -> tuple[float, float]:
    """A world position as (y, x) in the slide's level-0 px, where (0, 0) is its top-left corner.

    napari puts 0 at the middle of the first pixel: hence half a pixel more.
    """
    y, x = np.asarray(layer.world_to_data(world))[-2:] + 0.5
    return float(y), float(x)


def px_to_world(layer: napari.layers.Image) -> np.ndarray:
    """From (y, x, 1) in a slide's level-0 px, 0 at the middle of the first, to the world: float64 (3, 3)."""
    origin, below, beside = (
        np.asarray(layer.data_to_world(place))[-2:] for place in ((0, 0), (1, 0), (0, 1))
    )
    matrix = np.eye(3)
    matrix[:2] = np.column_stack([below - origin, beside - origin, origin])
    return matrix


def visible_region(viewer: napari.viewer.Viewer, layer: napari.layers.Image) -> View:
    """Middle of the view (y, x) and what of a slide is on screen, both in its level-0 px.

    Of a slide that is turned, the upright rectangle around what is on screen; empty where nothing is.
    """
    view = camera(viewer)
    center = np.array(view.center[-2:])
    half = np.array(_canvas_px(viewer)) / view.zoom / 2
    corners = [to_level0(layer, tuple(center + half * side)) for side in product((-1, 1), repeat=2)]
    top, left = np.floor(np.min(corners, axis=0)).astype(int).tolist()
    bottom, right = np.ceil(np.max(corners, axis=0)).astype(int).tolist()
    region = Region(top, left, bottom - top, right - left).clip(require_slide(layer).size)
    return to_level0(layer, tuple(center)), region


def go_to(
    viewer: napari.viewer.Viewer,
    layer: napari.layers.Image,
    place_px: npt.ArrayLike,
    side_um: float,
) -> None:
    """Bring a place of a slide to the middle of the view, large enough to be looked at.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    layer : napari.layers.Image
        The slide's layer.
    place_px : array_like
        (y, x) in level-0 px, where (0, 0) is the slide's top-left corner.
    side_um : float
        Side of what is there, um.
    """
    view, middle = camera(viewer), layer.data_to_world(np.subtract(place_px, 0.5))
    view.center = (*view.center[:-2], *middle[-2:])
    view.zoom = max(view.zoom, _SHARE * min(_canvas_px(viewer)) / side_um)


def _canvas_px(viewer: napari.viewer.Viewer) -> tuple[float, float]:
    """Height and width of the canvas, or of its parts where it is a grid; napari 0.9 moved it."""
    canvas = getattr(viewer, "canvas", None)
    return viewer._canvas_size if canvas is None else canvas.viewbox_size(viewer.layers)
