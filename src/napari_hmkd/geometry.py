"""Integer (y, x) geometry, in level-0 pixels unless a name says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Origin = Literal["slide", "file"]
"""Where level-0 pixels count from: the corner of the slide as it is shown, or of the file's level 0."""


@dataclass(frozen=True, slots=True)
class Size:
    """Height and width in pixels."""

    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse an empty extent."""
        if self.height <= 0 or self.width <= 0:
            raise ValueError(f"a size needs positive sides, got {self.height} x {self.width}")


@dataclass(frozen=True, slots=True)
class Region:
    """A half-open rectangle: rows y to y + height, columns x to x + width."""

    y: int
    x: int
    height: int
    width: int

    def __str__(self) -> str:
        """For messages."""
        return f"rows {self.y} to {self.bottom}, columns {self.x} to {self.right}"

    @property
    def bottom(self) -> int:
        """First row below the region."""
        return self.y + self.height

    @property
    def right(self) -> int:
        """First column right of the region."""
        return self.x + self.width

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the region (y, x)."""
        return self.y + self.height / 2, self.x + self.width / 2

    def clip(self, size: Size) -> Region:
        """The part inside an image of that size; it may be empty (height or width 0)."""
        y, x = min(max(self.y, 0), size.height), min(max(self.x, 0), size.width)
        bottom = min(max(self.bottom, y), size.height)
        right = min(max(self.right, x), size.width)
        return Region(y, x, bottom - y, right - x)

    def overlap(self, other: Region) -> Region:
        """The part of this region that lies in another one, which it has to touch."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        return Region(y, x, min(self.bottom, other.bottom) - y, min(self.right, other.right) - x)

    def slices(self, part: Region) -> tuple[slice, slice]:
        """Where a part of this region lies in an array of the region's pixels."""
        y, x = part.y - self.y, part.x - self.x
        return slice(y, y + part.height), slice(x, x + part.width)
