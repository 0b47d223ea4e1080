"""OpenSlide's formats: SVS, NDPI, MRXS, SCN, BIF, DICOM, generic tiled TIFF."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openslide
from PIL import ImageCms

from napari_hmkd.errors import SlideError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide.backends.openslide_pixels import read_rgb
from napari_hmkd.slide.backends.parts_beside import parts_beside
from napari_hmkd.slide.backends.pixel_size import PixelSize, from_sides, stated_number
from napari_hmkd.slide.backends.protocol import DEFAULT_TILE, Level, longer_ratio

_SIDES = ("y", "x", "height", "width")


class OpenSlideBackend:
    """Reads through OpenSlide, whose one handle serves all threads.

    OpenSlide takes positions in whole level-0 pixels: in a level whose downsample is no whole number
    it interpolates, over at most an eighth of a pixel where the downsample is about 4. So it does, over
    at most half a pixel, in the coarser levels of an MRXS, whose photos lie where the camera stood.

    After a failed read an OpenSlide handle refuses every later read. A failed read is therefore
    tried once more on a fresh handle: if that succeeds, the failure belonged to another
    thread's tile; either way the slide goes on with a sound handle.

    Attributes
    ----------
    steps : list of float
        OpenSlide's own downsamples: the format's, or the mean of both sides' ratios.
    """

    name = "openslide"
    warnings = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: openslide.OpenSlide | None = self._open()
        self._lock = threading.Lock()
        self.properties: dict[str, str] = dict(self._handle.properties)
        self.vendor = self.properties.get("openslide.vendor")
        self.files_beside = parts_beside(path, self.properties)
        bounds = _bounds(self.properties, self._handle.dimensions)
        self.origin_px = (0, 0) if bounds is None else (bounds.y, bounds.x)
        sizes = [Size(height, width) for width, height in self._handle.level_dimensions]
        self.steps = [float(step) for step in self._handle.level_downsamples]
        downsamples = [_downsample(sizes[0], *one) for one in zip(sizes, self.steps, strict=True)]
        self.levels = tuple(
            Level(
                size if bounds is None else _scaled(bounds, downsample),
                downsample,
                self._tile(index),
            )
            for index, (size, downsample) in enumerate(zip(sizes, downsamples, strict=True))
        )
        self.pixel_sizes = self._pixel_sizes()
        self.icc_profile = _icc_profile(self._handle)

    def _open(self) -> openslide.OpenSlide:
        try:
            return openslide.OpenSlide(self._path)
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"'{self._path}' cannot be opened: OpenSlide says \"{error}\". "
                "The file may be damaged, or of a kind that OpenSlide does not know: copy it again, or "
                "export it as DICOM or OME-TIFF."
            ) from error

    def _tile(self, level: int) -> Size:
        prefix = f"openslide.level[{level}].tile"
        try:
            height = int(self.properties[f"{prefix}-height"])
            width = int(self.properties[f"{prefix}-width"])
        except (KeyError, ValueError):
            return DEFAULT_TILE
        return Size(height, width) if height > 0 and width > 0 else DEFAULT_TILE

    def _pixel_sizes(self) -> tuple[PixelSize, ...]:
        y, x = (stated_number(self.properties, f"openslide.mpp-{axis}") for axis in "yx")
        # Of DICOM, OpenSlide takes it from the one place where the standard has it.
        source = "DICOM PixelSpacing" if self.vendor == "dicom" else "openslide.mpp-x"
        known = from_sides(y, x, source)
        return () if known is None else (known,)

    def read(self, level: int, region: Region) -> np.ndarray:
        """See `Backend.read`."""
        handle = self._handle
        if handle is None:
            raise SlideReadError(f"'{self._path.name}' was closed; open it again to read it.")
        try:
            return self._read_from(handle, level, region)
        except openslide.OpenSlideError:
            fresh = self._reopen()
        try:
            pixels = self._read_from(fresh, level, region)
        except openslide.OpenSlideError as error:
            self._replace(handle, self._reopen())
            raise SlideReadError(
                f"'{self._path.name}', level {level}, {region} cannot be read: OpenSlide says "
                f'"{self._without_folder(error)}". That part of the file is damaged; other parts may be sound.'
            ) from error
        self._replace(handle, fresh)
        return pixels

    def _reopen(self) -> openslide.OpenSlide:
        """A fresh handle, of a file that could be opened: if it cannot any more, it is no damage."""
        try:
            for file in self.files_beside:
                file.stat()
            return self._open()
        except (OSError, SlideError) as error:
            reason = error.__cause__ if isinstance(error, SlideError) else error
            raise SlideStalledError(
                f"'{self._path.name}' cannot be read any more ({self._without_folder(reason)}). Its disk or "
                "network may be down: look whether all of it can be copied, and try again."
            ) from error

    def _without_folder(self, error: BaseException | None) -> str:
        """An error's words: they are listed with the tile in results, which no folder belongs in."""
        if isinstance(error, OSError):
            return f"{error.strerror}: '{Path(error.filename).name}'"
        return str(error).replace(f"{self._path.parent}{os.sep}", "")

    def _replace(self, broken: openslide.OpenSlide, sound: openslide.OpenSlide) -> None:
        """Swap the handle, unless another thread has done so or the slide was closed.

        The old handle is dropped, not closed: other threads may be inside it, and it closes
        itself when the last of them lets go.
        """
        with self._lock:
            if self._handle is broken:
                self._handle = sound

    def _read_from(self, handle: openslide.OpenSlide, level: int, region: Region) -> np.ndarray:
        step = self.steps[level]  # OpenSlide's own: it divides the position by it
        y, x = self.origin_px
        corner = (x + round(region.x * step), y + round(region.y * step))
        return read_rgb(handle, corner, level, (region.width, region.height))

    def close(self) -> None:
        """See `Backend.close`."""
        with self._lock:
            self._handle = None


def _icc_profile(handle: openslide.OpenSlide) -> bytes | None:
    """The profile as the file has it, also where it is damaged: `colour_path` says so."""
    try:
        profile = handle.color_profile
    except (ImageCms.PyCMSError, OSError, ValueError):
        raw: bytes | None = vars(handle).get("_profile")  # not public: None if it is renamed
        return raw
    return None if profile is None else profile.tobytes()


def _bounds(properties: Mapping[str, str], dimensions: tuple[int, int]) -> Region | None:
    """The part of level 0 that was scanned, where the format says; None for the whole."""
    width, height = dimensions
    try:
        y, x, tall, wide = (int(properties[f"openslide.bounds-{side}"]) for side in _SIDES)
    except (KeyError, ValueError):
        return None
    bounds = Region(y, x, tall, wide).clip(Size(height, width))
    return bounds if bounds.height and bounds.width else None


def _downsample(base: Size, size: Size, step: float) -> float:
    """A level's: what the format states, as MRXS, BIF and Philips TIFF do, or what the sizes make of it."""
    from_sizes = (base.height / size.height + base.width / size.width) / 2  # as OpenSlide has it
    return longer_ratio(base, size) if math.isclose(step, from_sizes) else step


def _scaled(bounds: Region, downsample: float) -> Size:
    """The bounds' size in a level's pixels."""
    height, width = round(bounds.height / downsample), round(bounds.width / downsample)
    return Size(max(1, height), max(1, width))
