"""What every back end offers: levels, raw pixel sizes and pixels of one level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide.backends.pixel_size import PixelSize

DEFAULT_TILE = Size(256, 256)
LARGEST_PIECE_BYTES = 128 * 2**20
"""Most decoded bytes of a tile, strip or chunk: larger ones leave the cache no room for others."""


class UndecodableError(SlideError):
    """Why a back end that decodes tiles itself does not bring a slide to RGB; OpenSlide may."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide.

    Attributes
    ----------
    size : Size
        Height and width in this level's pixels.
    downsample : float
        Level-0 pixels per pixel of this level, unrounded: 4.00015 stays 4.00015.
    tile : Size
        How the file stores the level; reads that follow it are the fastest.
    whole_tiles : bool
        A read costs the tiles it touches and nothing besides, so that it is best done tile by tile.
    slow_tiles : bool
        Each of them takes so long, about a millisecond or more, that idle threads had better help.
    own_threads : bool
        The library that reads them does so in several threads by itself.
    """

    size: Size
    downsample: float
    tile: Size = DEFAULT_TILE
    whole_tiles: bool = False
    slow_tiles: bool = False
    own_threads: bool = False


class Backend(Protocol):
    """A file format's reader. Its `read` is called from several threads at once."""

    @property
    def name(self) -> str:
        """The library that reads."""
        ...

    @property
    def vendor(self) -> str | None:
        """The scanner's or the format's name."""
        ...

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the finest on."""
        ...

    @property
    def properties(self) -> Mapping[str, str]:
        """What the file says about itself."""
        ...

    @property
    def pixel_sizes(self) -> tuple[PixelSize, ...]:
        """Its statements of level 0's pixel size, the most trusted first, plausible or not."""
        ...

    @property
    def icc_profile(self) -> bytes | None:
        """The ICC profile of its colours, None where the file has none."""
        ...

    @property
    def origin_px(self) -> tuple[int, int]:
        """Where (y, x) level 0 begins in the file's own coordinates; a scan can be partly empty."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of results has to know about the file; without names, which can be a patient's."""
        ...

    @property
    def files_beside(self) -> tuple[Path, ...]:
        """Files beside the slide's own in which pixels lie, less a coarsest level's that OpenSlide hashes."""
        ...

    def read(self, level: int, region: Region) -> np.ndarray:
        """Pixels of `region`, which lies inside the level, as uint8 (height, width, 3).

        Raises
        ------
        SlideStalledError
            The system cannot read the file any more.
        SlideReadError
            A tile of the region is corrupt; other regions can still be read.
        """
        ...

    def close(self) -> None:
        """Release the file. Reads under way in other threads end in their own time."""
        ...


def longer_ratio(base: Size, size: Size) -> float:
    """A level's downsample: how many pixels of `base` a pixel of `size` stands for, by the longer side.

    A level's sides are whole pixels, which bends the shorter side's ratio more; the mean of both, as
    OpenSlide has it, moves what lies at the end of a long slide by many pixels.
    """
    if base.height >= base.width:
        return base.height / size.height
    return base.width / size.width


def same_proportions(small: Size, large: Size) -> bool:
    """Whether one step makes both sides of the smaller image, each within a pixel."""
    return large.height * (small.width - 1) <= large.width * (small.height + 1) and large.width * (
        small.height - 1
    ) <= large.height * (small.width + 1)


def piece_problem(piece: Size) -> str | None:
    """Why tiles or strips of a size cannot be read whole, or None."""
    size = piece.height * piece.width * 3
    if size <= LARGEST_PIECE_BYTES:
        return None
    return (
        f"it is stored in pieces of {size / 1e6:,.0f} MB, each of which is read whole "
        f"({LARGEST_PIECE_BYTES / 1e6:,.0f} MB is the limit)"
    )


def require_bytes(path: Path, needed: int) -> None:
    """Check that a file has as many bytes as its header needs.

    Raises
    ------
    SlideError
        It was cut off, as by an interrupted copy, or its header is damaged.
    """
    present = path.stat().st_size
    if needed > present:
        raise SlideError(
            f"'{path}' is truncated: it has {present:,} bytes and goes on at {needed:,}. "
            "Copy it again from its source."
        )


def flatten_on_white(rgba: np.ndarray, premultiplied: bool = False) -> np.ndarray:
    """Put uint8 (h, w, 4) on a white ground and drop its alpha: uint8 (h, w, 3)."""
    alpha = rgba[..., 3:]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(rgba[..., :3])
    colour = rgba[..., :3].astype(np.uint16)
    opacity = alpha.astype(np.uint16)
    if not premultiplied:
        colour = (colour * opacity + 127) // 255
    return np.minimum(colour + (255 - opacity), 255).astype(np.uint8)
