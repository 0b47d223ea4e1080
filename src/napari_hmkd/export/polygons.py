"""Tiles of equal label merged into polygons: pure geometry, nothing read."""

from __future__ import annotations

from functools import partial

import numpy as np
import shapely
from shapely import MultiPolygon
from skimage.measure import label

from napari_hmkd.tiling import TileGrid

_NONE, _OUTSIDE = -1, -2


def merge_tiles(labels: np.ndarray, grid: TileGrid) -> dict[int, MultiPolygon]:
    """Merge the tiles of each label, and clip them to the slide.

    Tiles that share a side become one polygon, with holes where other tiles lie within; tiles that
    touch at a corner only stay two. Neighbouring labels meet in identical coordinates, those of the
    unrounded grid, without gap or overlap. Every vertex is a true corner.

    Parameters
    ----------
    labels : numpy.ndarray
        (rows, columns) of the grid: integers, where a negative one is no label.
    grid : TileGrid
        Where the tiles lie.

    Returns
    -------
    dict of int to shapely.MultiPolygon
        For each label that occurs, in ascending order, its valid geometry: (x, y) in level-0 px.
        Exteriors run counterclockwise and holes clockwise in the numbers (RFC 7946, 3.1.6), which is
        the other way round on a screen, where y points down.

    Raises
    ------
    ValueError
        If the labels are not one per tile.
    """
    if labels.shape != (grid.rows, grid.columns):
        raise ValueError(
            f"labels must be one per tile, ({grid.rows}, {grid.columns}), got {labels.shape}"
        )
    if not (labels >= 0).any():
        return {}
    patches = label(np.maximum(labels, _NONE), background=_NONE, connectivity=1) - 1
    outlines, first = _outlines(patches)
    placed = shapely.orient_polygons(shapely.transform(outlines, partial(_to_px, grid)))
    found, owner = np.unique(labels[tuple(first.T)], return_inverse=True)
    order = np.argsort(owner, kind="stable")
    merged = shapely.multipolygons(placed[order], indices=owner[order])
    return dict(zip(found.tolist(), merged, strict=True))


def _outlines(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The polygon of each patch, of which there is one at least, and its first tile (row, column).

    In whole tiles, so that merging rounds nothing. `shapely.union_all` merges runs of tiles in a row;
    `coverage_union_all`, quicker with single tiles, makes invalid polygons of holes that touch the
    exterior at a corner before GEOS 3.14.
    """
    row, left = np.nonzero(np.diff(patches, axis=1, prepend=_OUTSIDE))
    right = np.nonzero(np.diff(patches, axis=1, append=_OUTSIDE))[1] + 1
    runs = shapely.box(left, row, right, row + 1)
    owner = patches[row, left]
    order = np.argsort(owner, kind="stable")[np.count_nonzero(owner < 0) :]
    start = np.unique(owner[order], return_index=True)[1]
    polygons = [shapely.union_all(group) for group in np.split(runs[order], start[1:])]
    return shapely.simplify(polygons, tolerance=0), np.column_stack([row, left])[order[start]]


def _to_px(grid: TileGrid, corners: np.ndarray) -> np.ndarray:
    """Corners of tiles, (n, 2) whole (x, y), in level-0 px of the slide."""
    y, x = grid.origins(corners[:, ::-1]).T
    return np.column_stack(
        [np.minimum(x, grid.slide_size.width), np.minimum(y, grid.slide_size.height)]
    )
