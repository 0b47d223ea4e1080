"""Where tiles lie: covering, not overlapping, nearest to the view first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.geometry import Region, Size
from napari_hmkd.tiling import TileGrid

mpps = st.floats(0.1, 2.0)
grids = st.builds(
    TileGrid,
    slide_size=st.builds(Size, st.integers(1, 20_000), st.integers(1, 20_000)),
    slide_mpp=st.tuples(mpps, mpps),
    tile_px=st.sampled_from([256, 512, 1024]),
    model_mpp=st.floats(0.23, 1.0),
    overlap=st.sampled_from([1, 2, 4]),
)


@given(grids)
def test_the_squares_cover_the_slide_and_none_lies_outside(grid: TileGrid) -> None:
    starts = grid.origins(grid.tiles())
    ends = starts + grid.step_px
    assert starts.min() == 0
    size = np.array([grid.slide_size.height, grid.slide_size.width])
    assert (ends.max(axis=0) >= size - 1e-5 * np.array(grid.step_px)).all()
    assert (starts < size).all()


@given(grids.filter(lambda grid: grid.rows * grid.columns < 100_000))
def test_what_of_the_squares_lies_on_the_slide_has_the_area_of_the_slide(grid: TileGrid) -> None:
    share, size = grid.on_slide(), grid.slide_size
    assert share.shape == (grid.rows, grid.columns)
    assert 0 < share.min() <= share.max() <= 1
    height_mm, width_mm = np.multiply((size.height, size.width), grid.slide_mpp) / 1000
    assert grid.area_mm2(share).sum() == pytest.approx(height_mm * width_mm, rel=1e-5)


@given(grids)
def test_each_square_starts_where_its_neighbour_ends(grid: TileGrid) -> None:
    tiles = grid.tiles()
    gap = grid.origins(tiles + 1) - (grid.origins(tiles) + grid.step_px)
    # Unrounded: the same closeness at the far end of the slide as at its origin.
    assert np.abs(gap).max() < 1e-9 * (grid.slide_size.height + grid.slide_size.width + 5_000)


@given(grids, st.data())
def test_a_square_is_found_over_its_own_middle(grid: TileGrid, data: st.DataObject) -> None:
    square = (
        data.draw(st.integers(0, grid.rows - 1)),
        data.draw(st.integers(0, grid.columns - 1)),
    )
    y, x = grid.origins(square)[0] + np.array(grid.step_px) / 2
    on_slide = y < grid.slide_size.height and x < grid.slide_size.width
    assert grid.tile_at(y, x) == (square if on_slide else None)


@given(
    grids.filter(lambda grid: grid.rows * grid.columns < 5_000),
    st.tuples(st.floats(-1e4, 3e4), st.floats(-1e4, 3e4)),
    st.builds(
        Region,
        st.integers(-5_000, 20_000),
        st.integers(-5_000, 20_000),
        st.integers(1, 20_000),
        st.integers(1, 20_000),
    ),
)
def test_nearest_first_sorts_every_tile_with_those_in_view_in_front(
    grid: TileGrid, focus: tuple[float, float], view: Region
) -> None:
    tiles = grid.tiles()
    ordered = grid.nearest_first(tiles, focus, view)
    assert sorted(map(tuple, ordered.tolist())) == list(map(tuple, tiles.tolist()))

    start, end = grid.origins(ordered), grid.origins(ordered + grid.overlap)
    seen = (
        (start[:, 0] < view.bottom)
        & (end[:, 0] > view.y)
        & (start[:, 1] < view.right)
        & (end[:, 1] > view.x)
    )
    assert not (~seen[:-1] & seen[1:]).any()
    away_um = np.linalg.norm((grid.centers(ordered) - focus) * grid.slide_mpp, axis=1)
    for group in (away_um[seen], away_um[~seen]):
        assert (np.diff(group) >= -1e-6).all()  # um; equal but for rounding


@given(grids)
def test_tiles_overlap_by_whole_squares(grid: TileGrid) -> None:
    first, second = grid.centers([(0, 0), (grid.overlap, 0)])
    assert (second - first)[0] * grid.slide_mpp[0] == pytest.approx(grid.tile_um, rel=1e-9)
    assert first * grid.slide_mpp == pytest.approx(np.full(2, grid.tile_um / 2), rel=1e-9)


@given(grids, st.integers(0, 3000), st.integers(0, 3000), st.sampled_from([(0, 0), (0, 9), (9, 0)]))
def test_no_tile_shares_area_with_an_empty_region(
    grid: TileGrid, y: int, x: int, sides: tuple[int, int]
) -> None:
    assert not grid.meets(grid.tiles(), Region(y, x, *sides)).any()


def test_the_step_is_not_rounded() -> None:
    grid = TileGrid(Size(9911, 9274), (0.69, 0.7), 512, 0.92)
    assert grid.step_px == (512 * 0.92 / 0.69, 512 * 0.92 / 0.7)
    assert grid.origins([(10, 10)])[0].tolist() == [10 * grid.step_px[0], 10 * grid.step_px[1]]


def test_a_slide_of_whole_tiles_gets_no_sliver_from_rounding() -> None:
    # 0.23 / 0.115 and 0.3 / 0.1 are not exact in binary.
    grid = TileGrid(Size(4 * 512, 5 * 768), (0.115, 0.1), 256, 0.23)
    assert (grid.rows, grid.columns) == (4, 7)
    assert TileGrid(Size(3 * 768, 768), (0.1, 0.1), 256, 0.3).rows == 3


def test_what_rounding_leaves_beyond_the_last_tiles_belongs_to_them() -> None:
    grid = TileGrid(Size(1024, 768), (0.5 + 1e-7, 0.5 + 1e-7), 256, 0.5)
    assert (grid.rows, grid.columns) == (4, 3)
    beyond = np.multiply(grid.step_px, (4, 3)) + 1e-5
    assert (beyond < (1024, 768)).all()
    assert grid.tile_at(*beyond) == (3, 2)


def test_a_slide_smaller_than_a_tile_is_one_tile() -> None:
    grid = TileGrid(Size(100, 50), (0.5, 0.5), 256, 0.5)
    assert (grid.rows, grid.columns) == (1, 1)


@pytest.mark.parametrize(
    ("point", "tile"),
    [((-0.1, 0), None), ((0, -0.1), None), ((100, 0), None), ((0, 50), None), ((0, 0), (0, 0))],
)
def test_there_is_no_tile_outside_the_slide(
    point: tuple[float, float], tile: tuple[int, int] | None
) -> None:
    assert TileGrid(Size(100, 50), (0.5, 0.5), 256, 0.5).tile_at(*point) == tile


def test_without_a_view_distance_alone_decides() -> None:
    grid = TileGrid(Size(1024, 1024), (1.0, 1.0), 256, 1.0)
    ordered = grid.nearest_first(grid.tiles(), (1000.0, 10.0))
    assert ordered[0].tolist() == [3, 0]
    assert ordered[-1].tolist() == [0, 3]
