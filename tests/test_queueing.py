"""The order of tiles follows a view that another thread may move at any time."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.geometry import Region, Size
from napari_hmkd.queueing import TileQueue, View
from napari_hmkd.tiling import TileGrid

GRID = TileGrid(Size(3000, 5000), (0.5, 0.5), 256, 1.0)  # 6 x 10 tiles of 512 level-0 px
COUNT = GRID.rows * GRID.columns


@st.composite
def views(draw: st.DrawFn) -> View:
    y, x = draw(st.integers(-500, 3500)), draw(st.integers(-500, 5500))
    height, width = draw(st.integers(1, 2000)), draw(st.integers(1, 2000))
    return (y + height / 2, x + width / 2), Region(y, x, height, width)


def seen(view: View) -> set[tuple[int, int]]:
    """The tiles that a view shows a part of."""
    tiles = GRID.tiles()
    return {tuple(tile) for tile in tiles[GRID.meets(tiles, view[1])].tolist()}


def rank(tile: tuple[int, int], view: View) -> tuple[bool, float]:
    """Tiles on screen first, then by distance from the middle."""
    away_px = GRID.centers([tile])[0] - view[0]
    return tile not in seen(view), round(float(np.hypot(*away_px)), 6)


@given(moves=st.lists(st.tuples(st.integers(0, 12), views()), max_size=3), first=views())
def test_each_tile_comes_once_and_always_the_nearest_that_is_left(
    moves: list[tuple[int, View]], first: View
) -> None:
    queue, view, left = TileQueue(first), first, set(map(tuple, GRID.tiles().tolist()))
    queue.fill(GRID, GRID.tiles())
    for count, following in [*moves, (COUNT, first)]:
        ranks = {tile: rank(tile, view) for tile in left}
        for tile in islice(queue, count):
            assert ranks[tile] == min(ranks[other] for other in left)
            left.remove(tile)
        view = following
        queue.look(view)
    assert not left


@given(first=views(), second=views())
def test_only_what_is_in_view_and_then_what_is_in_view_next(first: View, second: View) -> None:
    queue = TileQueue(first, only_in_view=True)
    queue.fill(GRID, GRID.tiles())
    assert set(queue) == seen(first)
    queue.look(second, only_in_view=True)
    assert set(queue) == seen(second) - seen(first)
    queue.look(second)
    assert len(list(queue)) == COUNT - len(seen(first) | seen(second))


def test_without_a_view_tiles_come_as_they_were_given() -> None:
    queue = TileQueue()
    queue.fill(GRID, GRID.tiles()[5:9])
    assert list(queue) == [tuple(tile) for tile in GRID.tiles()[5:9].tolist()]


def test_an_empty_queue_takes_a_view_and_has_nothing() -> None:
    queue = TileQueue()
    queue.look(((0.0, 0.0), Region(0, 0, 10, 10)))
    with pytest.raises(StopIteration):
        next(queue)
