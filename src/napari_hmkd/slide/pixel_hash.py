"""A hash of so many of a slide's pixels that another slide has another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from math import ceil, isqrt

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.slide.backends.location import is_refusal
from napari_hmkd.slide.backends.protocol import Level
from napari_hmkd.slide.slide import Slide

COARSEST_PX = 8192**2
FINEST_PX = 4096**2
"""Most pixels that are read of the coarsest level, and of level 0."""


def hash_pixels(slide: Slide) -> bytes:
    """SHA-256 of the levels' sizes, the pixels of the coarsest level, and parts of level 0.

    Both are read in stored tiles: all of them up to `COARSEST_PX` and `FINEST_PX`, and so many of a
    larger level, spread evenly over the slide. A part that is damaged is known again as such.
    It may be called from inside a function that the slide's threads run.

    Raises
    ------
    SlideStalledError
        The file or the server does not answer.
    SlideReadError
        The server refuses a part for now, or not one part can be read.
    """
    last = len(slide.levels) - 1
    most_px = {0: FINEST_PX, last: COARSEST_PX}
    parts = [
        (index, place)
        for index, most in most_px.items()
        for place in _spread(slide.levels[index], most)
    ]
    hashes: dict[tuple[int, Region], bytes] = {}
    errors: list[SlideReadError] = []

    def read(part: tuple[int, Region]) -> None:
        try:
            pixels = slide.read_level(*part).tobytes()
        except SlideStalledError:
            raise
        except SlideReadError as error:
            if is_refusal(error.__cause__):  # other than damage, it may be over the next time
                raise
            hashes[part] = b"unreadable"
            errors.append(error)
        else:
            hashes[part] = hashlib.sha256(pixels).digest()

    slide.reader.threads.share_out(read, parts)
    if len(errors) == len(parts):
        raise errors[0]
    digest = hashlib.sha256(repr([level.size for level in slide.levels]).encode())
    for part in parts:
        digest.update(hashes[part])
    return digest.digest()


def _spread(level: Level, most_px: int) -> Iterator[Region]:
    """Stored tiles, evenly over a level, of no more pixels than asked for; one at least."""
    size, tile = level.size, level.tile
    rows, columns = ceil(size.height / tile.height), ceil(size.width / tile.width)
    most = max(1, most_px // (tile.height * tile.width))
    read_rows = min(rows, max(isqrt(most), most // columns))
    read_columns = min(columns, most // read_rows)
    for row in _evenly(rows, read_rows):
        for column in _evenly(columns, read_columns):
            corner = row * tile.height, column * tile.width
            yield Region(*corner, tile.height, tile.width).clip(size)


def _evenly(count: int, chosen: int) -> list[int]:
    """So many of the numbers below `count`, each in the middle of its share of them."""
    return [(2 * number + 1) * count // (2 * chosen) for number in range(chosen)]
