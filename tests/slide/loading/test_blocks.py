"""Which blocks of a level a region touches, and which it holds whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide.loading.blocks import BlockGrid

SIDES = st.integers(1, 40)


@st.composite
def grids_and_regions(draw: st.DrawFn) -> tuple[BlockGrid, Region]:
    size, block = Size(draw(SIDES), draw(SIDES)), Size(draw(SIDES), draw(SIDES))
    y, x = draw(st.integers(0, size.height)), draw(st.integers(0, size.width))
    region = Region(y, x, draw(st.integers(0, 40)), draw(st.integers(0, 40)))
    return BlockGrid(size, block), region.clip(size)


def pixels(region: Region) -> set[tuple[int, int]]:
    rows, columns = range(region.y, region.bottom), range(region.x, region.right)
    return {(y, x) for y in rows for x in columns}


@given(grids_and_regions())
def test_blocks_under_a_region_are_those_that_share_a_pixel(
    given_: tuple[BlockGrid, Region],
) -> None:
    grid, region = given_
    every = list(grid.under(Region(0, 0, grid.size.height, grid.size.width)))
    touched = [block for block in every if pixels(grid.place(*block)) & pixels(region)]
    assert list(grid.under(region)) == touched


@given(grids_and_regions())
def test_whole_blocks_fill_what_is_within(given_: tuple[BlockGrid, Region]) -> None:
    grid, region = given_
    whole = [
        pixels(grid.place(*block))
        for block in grid.under(region)
        if pixels(grid.place(*block)) <= pixels(region)
    ]
    assert pixels(grid.within(region)) == set().union(*whole)
