"""Equal tiles merged into polygons: exact, complete, none over another."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_hmkd.export.polygons import merge_tiles
from napari_hmkd.geometry import Size
from napari_hmkd.tiling import TileGrid

SQUARES = TileGrid(Size(3 * 256, 4 * 256), (0.5, 0.5), 256, 0.5)  # 3 x 4 tiles that fit
mpps = st.floats(0.1, 2.0)


@st.composite
def labelled_grids(draw: st.DrawFn) -> tuple[TileGrid, np.ndarray]:
    """Up to 9 x 9 tiles of any size, the last of which reach beyond the slide by any length."""
    slide_mpp, model_mpp = draw(st.tuples(mpps, mpps)), draw(st.floats(0.23, 1.0))
    step = 256 * model_mpp / np.array(slide_mpp)
    tiles = np.array(draw(st.tuples(st.floats(0.1, 8.9), st.floats(0.1, 8.9))))
    height, width = np.ceil(tiles * step).astype(int).tolist()
    grid = TileGrid(Size(height, width), slide_mpp, 256, model_mpp)
    return grid, draw(arrays(np.int8, (grid.rows, grid.columns), elements=st.integers(-1, 3)))


def clipped_tiles(grid: TileGrid) -> np.ndarray:
    """Each tile as far as it lies on the slide, (rows, columns) of boxes."""
    (y, x), slide = grid.origins(grid.tiles()).T, grid.slide_size
    bottom = np.minimum(y + grid.step_px[0], slide.height)
    right = np.minimum(x + grid.step_px[1], slide.width)
    return shapely.box(x, y, right, bottom).reshape(grid.rows, grid.columns)


@given(labelled_grids())
def test_each_label_has_the_area_of_its_tiles_on_the_slide(
    case: tuple[TileGrid, np.ndarray],
) -> None:
    grid, labels = case
    merged = merge_tiles(labels, grid)
    assert list(merged) == sorted(set(labels[labels >= 0].tolist()))
    tiles = clipped_tiles(grid)
    for label, polygon in merged.items():
        expected = shapely.area(tiles[labels == label]).sum()
        assert polygon.area == pytest.approx(expected, rel=1e-9)


@given(labelled_grids())
def test_polygons_are_valid_and_share_no_area(case: tuple[TileGrid, np.ndarray]) -> None:
    grid, labels = case
    merged = merge_tiles(labels, grid).values()
    assert all(polygon.is_valid for polygon in merged)
    for one, other in combinations(merged, 2):
        assert one.relate_pattern(other, "F********"), "their insides meet"


@given(labelled_grids())
def test_the_middle_of_each_tile_lies_in_its_own_label_only(
    case: tuple[TileGrid, np.ndarray],
) -> None:
    grid, labels = case
    middles = shapely.centroid(clipped_tiles(grid))
    for label, polygon in merge_tiles(labels, grid).items():
        np.testing.assert_array_equal(shapely.contains(polygon, middles), labels == label)


@given(labelled_grids())
def test_every_vertex_is_a_corner_that_is_needed_at_exact_coordinates(
    case: tuple[TileGrid, np.ndarray],
) -> None:
    grid, labels = case
    merged = list(merge_tiles(labels, grid).values())
    y, x = grid.origins(np.indices((10, 10)).reshape(2, -1).T).T
    known_x, known_y = {*x, grid.slide_size.width}, {*y, grid.slide_size.height}
    for ring in shapely.get_rings(shapely.get_parts(merged)):
        corners = shapely.get_coordinates(ring)
        assert set(corners[:, 0]) <= known_x
        assert set(corners[:, 1]) <= known_y
        upright = (np.diff(corners, axis=0)[:, 0] == 0).tolist()
        assert all(this != following for this, following in pairwise([*upright, upright[0]]))


@given(labelled_grids())
def test_exteriors_run_counterclockwise_and_holes_clockwise(
    case: tuple[TileGrid, np.ndarray],
) -> None:
    grid, labels = case
    for polygon in shapely.get_parts(list(merge_tiles(labels, grid).values())):
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)


def test_tiles_that_touch_at_a_corner_stay_apart() -> None:
    labels = np.full((3, 4), -1)
    labels[0, 0] = labels[1, 1] = labels[2, 1] = 5
    (merged,) = merge_tiles(labels, SQUARES).values()
    assert [polygon.bounds for polygon in merged.geoms] == [
        (0, 0, 256, 256),
        (256, 256, 512, 768),
    ]


@pytest.mark.parametrize("within", [-1, 1])
def test_a_ring_of_tiles_has_a_hole(within: int) -> None:
    labels = np.zeros((3, 4), dtype=int)
    labels[1, 1:3] = within
    merged = merge_tiles(labels, SQUARES)
    (ring,) = merged[0].geoms
    (hole,) = ring.interiors
    assert shapely.Polygon(hole).equals(shapely.box(256, 256, 768, 512))
    assert set(merged) == ({0} if within < 0 else {0, 1})


def test_a_rectangle_of_tiles_has_four_corners() -> None:
    (rectangle,) = merge_tiles(np.zeros((3, 4), dtype=int), SQUARES)[0].geoms
    assert rectangle.normalize().exterior.coords[:4] == [(0, 0), (0, 768), (1024, 768), (1024, 0)]


def test_a_ring_that_closes_at_a_corner_only_is_one_valid_polygon() -> None:
    labels = np.zeros((3, 4), dtype=int)
    labels[1, 1] = labels[0, 0] = -1  # the hole touches the bay
    (ring,) = merge_tiles(labels, SQUARES)[0].geoms
    assert ring.is_valid
    assert ring.area == 10 * 256**2


def test_without_labels_there_is_nothing() -> None:
    assert merge_tiles(np.full((3, 4), -1), SQUARES) == {}


def test_labels_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\), got \(4, 3\)"):
        merge_tiles(np.zeros((4, 3), dtype=int), SQUARES)
