"""TIFF, OME-TIFF, Aperio SVS: tifffile parses, and each tile or strip is decoded by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.slide.backends import tiff_checks, tiff_metadata, tiff_series
from napari_hmkd.slide.backends.protocol import flatten_on_white, make_levels
from napari_hmkd.slide.backends.shared_file import FileClosedError, SharedFile
from napari_hmkd.slide.backends.tiff_pixel_size import pixel_sizes
from napari_hmkd.slide.backends.tiff_plane import TiffPlane, planes_of

_PREMULTIPLIED_ALPHA = 1  # TIFF's ExtraSamples; 2 is plain alpha, 0 unknown


class TiffBackend:
    """Decodes the tiles or strips that a region touches, and no others; it keeps none of them.

    tifffile's zarr view is not used: with it a damaged tile is filled instead of refused.
    """

    name = "tifffile"
    origin_px = (0, 0)

    def __init__(self, path: Path) -> None:
        self._path = path
        with tifffile.TiffFile(path) as tiff:
            series = tiff_series.slide_series(tiff, path)
            tiff_checks.require_decodable(series)
            tiff_metadata.require_files(tiff, series, path)
            tiff_metadata.require_whole(tiff, series, path)
            self.vendor = tiff_metadata.vendor(tiff)
            self.properties = tiff_metadata.properties(tiff, series)
            self.pixel_sizes = pixel_sizes(tiff, series)
            self.warnings = tiff_series.other_images(tiff, path)
            self.icc_profile: bytes | None = series.keyframe.iccprofile
            self._planes = [planes_of(level) for level in series.levels]
            self._extra = [int(kind) for kind in series.keyframe.extrasamples]
        firsts = [planes[0] for planes in self._planes]
        levels = make_levels([one.size for one in firsts], [one.tile for one in firsts])
        self.levels = tuple(
            replace(level, whole_tiles=not one.has_rows, slow_tiles=one.slow)
            for level, one in zip(levels, firsts, strict=True)
        )
        paths = {plane.path for planes in self._planes for plane in planes}
        self._files = {path: SharedFile(path) for path in paths}

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
        tiles = list(plane.tiles_under(region))
        if len(tiles) == 1:  # it needs no second copy
            piece = self._read_piece(level, plane, *tiles[0], region)
            if piece is not None:
                return np.ascontiguousarray(piece)
        pixels = np.full((region.height, region.width, plane.channels), 255, np.uint8)
        for index, place in tiles:
            inside = place.overlap(region)
            piece = self._read_piece(level, plane, index, place, inside)
            if piece is not None:  # else left out by the writer: blank glass
                pixels[region.slices(inside)] = piece
        return pixels

    def _read_piece(
        self, level: int, plane: TiffPlane, index: int, place: Region, part: Region
    ) -> np.ndarray | None:
        """Part of the tile or strip at a place, (height, width, channels); None if the file has none."""
        file = self._files[plane.path]
        try:
            offset, count = plane.stored_at(index)
            if not count:
                return None
            if plane.has_rows:
                rows = Region(part.y - place.y, part.x - place.x, part.height, part.width)
                return plane.read_rows(file, index, rows)
            tile = plane.decode(file.read(offset, count), index)
            piece = tile[place.slices(part)]
            if piece.shape[:2] != (part.height, part.width):  # the rest would pass for glass
                raise ValueError(f"it holds {tile.shape[0]} x {tile.shape[1]} px, which is too few")
        except FileClosedError as error:
            raise SlideReadError(f"'{self._path.name}' cannot be read: {error}.") from error
        except OSError as error:  # the system's: no codec raises it
            raise SlideStalledError(
                f"'{self._path.name}' cannot be read any more: {error.strerror or error}. Its disk or "
                "network may be down: look whether the file can be copied, and try again."
            ) from error
        except Exception as error:  # codecs raise what they like on damaged data
            raise SlideReadError(
                f"'{self._path.name}', level {level}, tile {index} cannot be read: {error}. "
                "That part of the file is damaged; other parts may be sound."
            ) from error
        return piece

    def close(self) -> None:
        """See `Backend.close`."""
        for file in self._files.values():
            file.close()
