"""The whole slide in few pixels, read so that damaged tiles do not stop it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region, Size

if TYPE_CHECKING:
    from napari_hmkd.slide.slide import Slide

UNREADABLE_GREY = 128
"""What a thumbnail shows where the file is damaged: neither glass nor tissue."""

_BLOCK_SOURCE_PX = 2048
_SMALLEST_SOURCE_PX = 256  # about one stored tile: no use in splitting a damaged block further


@dataclass(frozen=True, eq=False)
class Overview:
    """A whole slide, reduced.

    Attributes
    ----------
    pixels : uint8 (height, width, 3)
        `UNREADABLE_GREY` where the slide could not be read.
    readable : bool (height, width)
        Where it could.
    downsample : tuple of float
        Level-0 pixels per pixel (y, x).
    """

    pixels: np.ndarray
    readable: np.ndarray
    downsample: tuple[float, float]


def read_overview(slide: Slide, size: Size) -> Overview:
    """Reduce the whole slide to `size`, block by block, in a few threads.

    Raises
    ------
    SlideReadError
        Nothing of the slide can be read, or it does not answer in time.
    """
    downsample = (slide.size.height / size.height, slide.size.width / size.width)
    pixels = np.full((size.height, size.width, 3), UNREADABLE_GREY, np.uint8)
    readable = np.zeros((size.height, size.width), bool)
    errors: list[SlideReadError] = []

    def fill(block: Region) -> None:
        origin = (block.y * downsample[0], block.x * downsample[1])
        area = np.s_[block.y : block.bottom, block.x : block.right]
        try:
            pixels[area] = slide.read_downsampled(
                origin, Size(block.height, block.width), downsample
            )
            readable[area] = True
        except SlideStalledError:
            raise
        except SlideReadError as error:
            errors.append(error)
            if max(block.height, block.width) > smallest:
                for part in _blocks(block, (max(block.height, block.width) + 1) // 2):
                    fill(part)

    # What one output pixel costs to decode depends on the level that is read.
    step = max(downsample) / slide.level_for(min(downsample)).downsample
    smallest = max(1, int(_SMALLEST_SOURCE_PX / step))
    whole = Region(0, 0, size.height, size.width)
    blocks = list(_blocks(whole, max(1, int(_BLOCK_SOURCE_PX / step))))
    fills = [partial(fill, block) for block in blocks]
    with closing(slide.in_order(fills, ahead=len(fills))) as filled:
        for _ in filled:
            continue
    if not readable.any():
        raise SlideReadError(
            f"No part of '{slide.name}' can be read; the first failure was: {errors[0]}"
        )
    return Overview(pixels, readable, downsample)


def _blocks(region: Region, side: int) -> Iterator[Region]:
    for y in range(region.y, region.bottom, side):
        for x in range(region.x, region.right, side):
            yield Region(y, x, min(side, region.bottom - y), min(side, region.right - x))


def fitted_size(size: Size, max_px: int) -> Size:
    """`size` reduced, never enlarged, so that its longer side is at most `max_px`."""
    factor = max(1.0, max(size.height, size.width) / max_px)
    return Size(max(1, round(size.height / factor)), max(1, round(size.width / factor)))
