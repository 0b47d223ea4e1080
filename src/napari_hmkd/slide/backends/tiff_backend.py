"""TIFF, OME-TIFF, Aperio SVS: tifffile parses, and each tile or strip is decoded by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from napari_hmkd.geometry import Region
from napari_hmkd.slide.backends import tiff_checks, tiff_metadata, tiff_series
from napari_hmkd.slide.backends.protocol import Level, flatten_on_white, longer_ratio
from napari_hmkd.slide.backends.tiff_pixel_size import copied_aperio_doubt, pixel_sizes
from napari_hmkd.slide.backends.tiff_plane import planes_of
from napari_hmkd.slide.backends.tile_files import TileFiles

_PREMULTIPLIED_ALPHA = 1  # TIFF's ExtraSamples; 2 is plain alpha, 0 unknown


class TiffBackend:
    """Decodes the tiles or strips that a region touches, and no others; it keeps none of them.

    tifffile's zarr view is not used: with it a damaged tile is filled instead of refused.
    """

    name = "tifffile"
    origin_px = (0, 0)

    def __init__(self, path: Path) -> None:
        with tifffile.TiffFile(path) as tiff:
            tiff_metadata.require_all_pages(tiff, path)
            series = tiff_series.slide_series(tiff, path)
            tiff_checks.require_decodable(series)
            tiff_metadata.require_files(tiff, series, path)
            tiff_metadata.require_whole(tiff, path, series)
            self.vendor = tiff_metadata.vendor(tiff)
            self.properties = tiff_metadata.properties(tiff, series)
            self.pixel_sizes = pixel_sizes(tiff, series)
            self.warnings = (
                *tiff_series.other_images(tiff, path),
                *tiff_series.left_out(tiff, series),
                *copied_aperio_doubt(tiff, series.keyframe),
            )
            self.icc_profile: bytes | None = series.keyframe.iccprofile
            planes = [planes_of(level) for level in series.levels]
            files = {plane.path for parts in planes for plane in parts} - {tiff.filehandle.path}
            self._extra = [int(kind) for kind in series.keyframe.extrasamples]
        self.files_beside = tuple(map(Path, sorted(files)))
        base = planes[0][0].grid.size
        self.levels = tuple(
            Level(
                first.grid.size,
                longer_ratio(base, first.grid.size),
                first.grid.tile,
                whole_tiles=not first.has_rows,
                slow_tiles=first.slow,
            )
            for first, *_ in planes
        )
        self._tiles = TileFiles(path, planes)

    def read(self, level: int, region: Region) -> np.ndarray:
        """See `Backend.read`."""
        pixels = self._tiles.read(level, region)
        if pixels.shape[-1] == 3:
            return pixels
        if self._extra == [0]:  # the fourth sample is said to be something other than alpha
            return np.ascontiguousarray(pixels[..., :3])
        return flatten_on_white(pixels, self._extra == [_PREMULTIPLIED_ALPHA])

    def close(self) -> None:
        """See `Backend.close`."""
        self._tiles.close()
