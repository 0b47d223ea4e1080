"""TIFF and OME-TIFF: tifffile parses and decodes, one file handle per thread reads."""

from __future__ import annotations

import functools
import threading
import weakref
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from napari_hmkd.errors import SlideReadError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import tiff_metadata
from napari_hmkd.slide.backend import flatten_on_white, make_levels
from napari_hmkd.slide.tiff_plane import planes_of

_CACHE_BYTES = 64 * 2**20
_PREMULTIPLIED_ALPHA = 1  # TIFF's ExtraSamples; 2 is plain alpha, 0 unknown


class TiffBackend:
    """Decodes the tiles or strips that a region touches, and no others.

    tifffile's zarr view is not used: with it a damaged tile is filled instead of refused.
    """

    name = "tifffile"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tiff = tifffile.TiffFile(path)
        try:
            series = tiff_metadata.slide_series(self._tiff, path)
            tiff_metadata.require_whole(self._tiff, series, path)
            self.vendor = "ome-tiff" if self._tiff.is_ome else "tiff"
            self.properties = tiff_metadata.properties(self._tiff, series)
            self.pixel_sizes = tiff_metadata.pixel_sizes(self._tiff, series)
            self.for_openslide = tiff_metadata.suits_openslide(self._tiff, series)
            self._planes = [planes_of(level) for level in series.levels]
        except BaseException:
            self._tiff.close()
            raise
        self._extra = [int(kind) for kind in series.keyframe.extrasamples]
        firsts = [planes[0] for planes in self._planes]
        self.levels = make_levels([one.size for one in firsts], [one.tile for one in firsts])
        self._local = threading.local()
        self._handles: weakref.WeakSet[BinaryIO] = weakref.WeakSet()
        self._closed = False
        largest = max(plane.tile.height * plane.tile.width * 4 for plane in firsts)
        self._tile = functools.lru_cache(max(1, _CACHE_BYTES // largest))(self._read_tile)

    def read(self, level: int, region: Region) -> np.ndarray:
        """See `Backend.read`."""
        parts = [self._read_plane(level, part, region) for part in range(len(self._planes[level]))]
        pixels = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        if pixels.shape[-1] == 3:
            return pixels
        if self._extra == [0]:  # the fourth sample is said to be something other than alpha
            return np.ascontiguousarray(pixels[..., :3])
        return flatten_on_white(pixels, self._extra == [_PREMULTIPLIED_ALPHA])

    def _read_plane(self, level: int, part: int, region: Region) -> np.ndarray:
        plane = self._planes[level][part]
        if plane.mapped is not None:
            return np.array(plane.mapped[region.y : region.bottom, region.x : region.right])
        pixels = np.full((region.height, region.width, plane.channels), 255, np.uint8)
        for index, place in plane.tiles_under(region):
            tile = self._tile(level, part, index)
            if tile is None:  # left out by the writer: blank glass
                continue
            y, x = max(region.y, place.y), max(region.x, place.x)
            piece = tile[
                y - place.y : region.bottom - place.y, x - place.x : region.right - place.x
            ]
            height, width = piece.shape[:2]
            top, left = y - region.y, x - region.x
            pixels[top : top + height, left : left + width] = piece
        return pixels

    def _read_tile(self, level: int, part: int, index: int) -> np.ndarray | None:
        """One tile or strip, (height, width, channels), or None where the file has none."""
        plane = self._planes[level][part]
        try:
            offset, count = plane.stored_at(index)
            if not count:
                return None
            return plane.decode(self._fetch(plane.path, offset, count), index)
        except Exception as error:  # codecs raise what they like on damaged data
            raise SlideReadError(
                f"'{self._path.name}', level {level}, tile {index} cannot be read: {error}. "
                "That part of the file is damaged; other parts may be sound."
            ) from error

    def _fetch(self, path: str, offset: int, count: int) -> bytes:
        if self._closed:
            raise ValueError("the slide was closed; open it again")
        mine: dict[str, BinaryIO] = self._local.__dict__
        if path not in mine:
            mine[path] = open(path, "rb")
            self._handles.add(mine[path])
        mine[path].seek(offset)
        data = mine[path].read(count)
        if len(data) < count:
            raise ValueError(f"the file ends {count - len(data)} bytes early")
        return data

    def close(self) -> None:
        """See `Backend.close`."""
        self._closed = True
        self._tiff.close()
        for handle in list(self._handles):
            handle.close()
