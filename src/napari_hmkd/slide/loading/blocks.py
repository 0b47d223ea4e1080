"""How a level is cut into the blocks that are kept in memory: pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide.backends.protocol import Level

CHUNK_PX = 512
"""About how long a side of what is drawn, or kept, at once is."""


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """A level of `size` in blocks of `block`, those at the lower and right edge cut."""

    size: Size
    block: Size

    def place(self, row: int, column: int) -> Region:
        """Where a block lies, in the level's pixels."""
        y, x = row * self.block.height, column * self.block.width
        height = min(self.block.height, self.size.height - y)
        return Region(y, x, height, min(self.block.width, self.size.width - x))

    def under(self, region: Region) -> Iterator[tuple[int, int]]:
        """(row, column) of every block that a region inside the level touches; none of an empty one."""
        if not (region.height and region.width):
            return iter(())
        rows = range(region.y // self.block.height, -(-region.bottom // self.block.height))
        columns = range(region.x // self.block.width, -(-region.right // self.block.width))
        return ((row, column) for row in rows for column in columns)

    def within(self, region: Region) -> Region:
        """What of a region inside the level whole blocks fill; it may be empty."""
        y, bottom = _whole(region.y, region.bottom, self.block.height, self.size.height)
        x, right = _whole(region.x, region.right, self.block.width, self.size.width)
        return Region(y, x, max(0, bottom - y), max(0, right - x))

    def around(self, view: Region) -> list[tuple[int, int]]:
        """The blocks within half a view's side of a view inside the level, the nearest first."""
        high, wide = view.height // 2, view.width // 2
        grown = Region(view.y - high, view.x - wide, view.height + 2 * high, view.width + 2 * wide)
        inside = set(self.under(view))
        (y, x), near = view.center, []
        for block in self.under(grown.clip(self.size)):
            if block not in inside:
                middle_y, middle_x = self.place(*block).center
                near.append((max(abs(middle_y - y) - high, abs(middle_x - x) - wide), block))
        return [block for _, block in sorted(near)]


def _whole(start: int, stop: int, side: int, length: int) -> tuple[int, int]:
    """Along one axis, where the first whole block begins and the last one ends; the level ends a block."""
    return -(-start // side) * side, stop if stop == length else stop // side * side


def grid_of(level: Level) -> BlockGrid:
    """The level's own tiles where a read costs whole tiles anyway, else squares of whole tiles."""
    if level.whole_tiles:
        return BlockGrid(level.size, level.tile)
    side = chunk_px(level)
    return BlockGrid(level.size, Size(side, side))


def chunk_px(level: Level) -> int:
    """Side of square chunks for a level: whole tiles, near 512 px.

    Strips, such as NDPI's 8 x 3968, would make chunks of a whole slide's width: there only the
    height is followed.
    """
    height, width = level.tile.height, level.tile.width
    step = math.lcm(height, width)
    if step > 2 * CHUNK_PX:
        step = min(height, CHUNK_PX)
    return step * max(1, round(CHUNK_PX / step))
