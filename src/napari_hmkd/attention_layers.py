"""Layer tuples of attention for napari, made without napari: maps of tiles, agreement, one token, a bag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_hmkd.inspection.faithfulness import Faithfulness
from napari_hmkd.inspection.importance import Method
from napari_hmkd.inspection.maps import MapKind, Mosaic, look_of
from napari_hmkd.inspection.tile import Gaze, TileInspection, Token
from napari_hmkd.layers import LayerData, clear_where_unknown, placed
from napari_hmkd.tiling import TileGrid

AGREEMENT = "agreement of student and teacher"
TOKEN = "token"
TILE = "tile"
BAG_LIMITS = (0.0, 4.0)
"""Of the colours of a bag's attention, as multiples of an even share: the same for all slides."""

QUERY = {gaze: f"from the token, {gaze}" for gaze in (Gaze.STUDENT, Gaze.TEACHER_HE)}
IMPORTANCE = {method: f"importance by {method}" for method in (Method.OCCLUSION, Method.GRADIENT)}
"""Names of layers."""

# The colours of the difference map; their lights add up to white, where both look.
_COLOURS = {Gaze.STUDENT: "green", Gaze.TEACHER_HE: "magenta"}


def mosaic_layer(
    mosaic: Mosaic, kind: MapKind, level: int, grid: TileGrid, about: Mapping[str, object]
) -> LayerData:
    """A map of tiles side by side at true scale, in colours that are the same all over a slide.

    Parameters
    ----------
    mosaic : Mosaic
        Of that kind and level.
    kind : MapKind
    level : int
        0 to 2.
    grid : TileGrid
        The slide's tiles.
    about : mapping
        What `metadata["napari_hmkd"]` is to hold, the model's notice above all.
    """
    own = look_of(kind, mosaic.side)
    look = clear_where_unknown(own.colours, own.limits)
    return _image(
        mosaic.data, f"{kind}, level {level}", look, grid, about,
        cells=mosaic.side, first=mosaic.first,
    )  # fmt: skip


def agreement_layer(
    agreement: np.ndarray, grid: TileGrid, about: Mapping[str, object]
) -> LayerData:
    """Mean agreement of each tile, 0 to 1, one pixel a tile: float32 (rows, columns), NaN where unknown."""
    look = clear_where_unknown("viridis", (0.0, 1.0))
    return _image(agreement, AGREEMENT, look, grid, about)


def bag_layer(
    attention: np.ndarray, target: str, grid: TileGrid, about: Mapping[str, object]
) -> LayerData:
    """How much each tile weighs in the answer to a target, one pixel a tile.

    Parameters
    ----------
    attention : numpy.ndarray
        Multiples of an even share, 1 where all tiles weigh alike: float32 (rows, columns), NaN where there
        is no patch.
    target : str
        Its name.
    grid : TileGrid
        The slide's tiles.
    about : mapping
        As of `mosaic_layer`.
    """
    look = clear_where_unknown("viridis", BAG_LIMITS)
    return _image(attention, f"attention for {target}", look, grid, about)


def query_layers(
    inspection: TileInspection,
    grid: TileGrid,
    tile: tuple[int, int],
    level: int,
    query: Token,
    about: Mapping[str, object],
) -> list[LayerData]:
    """Where one token attends, in each network at hand, and the token itself outlined.

    Both maps go from 0 to the greatest of either, and their light adds up: the student's is green, the
    teacher's magenta, and where both look it is white.
    """
    rows = {
        gaze: inspection.looked_at_from(gaze, level, query)
        for gaze in QUERY
        if gaze in inspection.attention
    }
    most = max(float(row.max()) for row in rows.values()) or 1.0
    side = len(rows[Gaze.STUDENT])
    images = [
        _image(
            row, QUERY[gaze], {"colormap": _COLOURS[gaze], "contrast_limits": (0.0, most)}, grid, about,
            cells=side, first=tile,
            opacity=0.8, blending="translucent" if gaze is Gaze.STUDENT else "additive",
        )
        for gaze, row in rows.items()
    ]  # fmt: skip
    step_px = np.array(grid.step_px) / side
    corner_px = grid.origins(tile)[0] + np.array(query) * step_px
    edge_px = float(step_px.max()) / 12
    return [*images, _outline(TOKEN, "#00e5ff", edge_px, corner_px, step_px, grid, about)]


def tile_layer(grid: TileGrid, tile: tuple[int, int], about: Mapping[str, object]) -> LayerData:
    """The outline of a tile (row, column)."""
    step_px = np.array(grid.step_px)
    edge_px = float(step_px.max()) / 64
    return _outline(TILE, "#ffd400", edge_px, grid.origins(tile)[0], step_px, grid, about)


def importance_layers(
    checked: Faithfulness, grid: TileGrid, tile: tuple[int, int], about: Mapping[str, object]
) -> list[LayerData]:
    """What a tile's answer hangs on by either method, each from 0 to its own greatest.

    The gradient's is there, hidden: two maps on each other show neither.
    """
    layers = []
    for method, name in IMPORTANCE.items():
        tokens = checked.maps[method]
        look = {"colormap": "viridis", "contrast_limits": (0.0, float(tokens.max()) or 1.0)}
        layers.append(
            _image(
                tokens, name, look, grid, about, cells=len(tokens), first=tile,
                opacity=0.9, visible=method is Method.OCCLUSION,
            )
        )  # fmt: skip
    return layers


def token_at(grid: TileGrid, tile: tuple[int, int], side: int, y_px: float, x_px: float) -> Token:
    """The token (row, column) of a tile over a position in level-0 px, of `side` tokens along the tile."""
    row, column = (np.array((y_px, x_px)) - grid.origins(tile)[0]) / grid.step_px * side
    return min(max(int(row), 0), side - 1), min(max(int(column), 0), side - 1)


def _outline(
    name: str,
    colour: str,
    edge_px: float,
    corner_px: np.ndarray,
    step_px: np.ndarray,
    grid: TileGrid,
    about: Mapping[str, object],
) -> LayerData:
    # A layer's point (0, 0) is the middle of the slide's first pixel. The corners stay as they are, so
    # that an outline is moved by its place alone.
    bottom, right = step_px
    corners = np.array([(0.0, 0.0), (0.0, right), (bottom, right), (bottom, 0.0)])
    kwargs = {
        "name": name,
        "shape_type": "rectangle",
        "edge_color": colour,
        "face_color": "transparent",
        "edge_width": [edge_px],
        "scale": grid.slide_mpp,
        "translate": tuple((corner_px - 0.5) * grid.slide_mpp),
        "units": ("micrometer", "micrometer"),
        "metadata": {"napari_hmkd": dict(about)},
    }
    return [corners], kwargs, "shapes"


def _image(
    data: np.ndarray,
    name: str,
    look: Mapping[str, object],
    grid: TileGrid,
    about: Mapping[str, object],
    *,
    cells: int = 1,
    first: tuple[int, int] = (0, 0),
    **more: Any,
) -> LayerData:
    """Of so many cells along each tile, from a tile on."""
    kwargs = {
        "name": name,
        **look,
        "opacity": 0.6,
        **placed(np.divide(grid.step_px, cells), grid.slide_mpp, grid.origins(first)[0]),
        "metadata": {"napari_hmkd": dict(about)},
        **more,
    }
    return data, kwargs, "image"
