"""`Slide`: any region of a whole slide at any pixel size, whatever file it comes from."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from upath import UPath

from napari_hmkd.errors import PixelSizeError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide.backends import pixel_size
from napari_hmkd.slide.backends.location import is_remote, locate, require_utf8
from napari_hmkd.slide.backends.opening import open_backend
from napari_hmkd.slide.backends.protocol import Backend, Level
from napari_hmkd.slide.loading.cache import TileCache, shared_cache
from napari_hmkd.slide.loading.file_stamps import FileStamps, pixel_files, stamps_of
from napari_hmkd.slide.loading.level_reader import LevelReader
from napari_hmkd.slide.overview import fitted_size, read_overview
from napari_hmkd.slide.reader_threads import READING_LIMIT_S, ReaderThreads
from napari_hmkd.slide.resample import axis_weights, resample

Result = TypeVar("Result")

MAX_ENLARGEMENT = 2.0
_SOURCE_SIDE_PX = 4096  # longest side decoded at once: a wide view stays within memory


def open_slide(
    path: str | os.PathLike[str] | UPath,
    mpp: float | None = None,
    backend: str | None = None,
    cache: TileCache = shared_cache,
) -> Slide:
    """Open a whole slide.

    Parameters
    ----------
    path : str or path
        A file, a DICOM or OME-Zarr folder, one instance of a DICOM folder, or the http(s):// or s3://
        address of an OME-Zarr store.
    mpp : float, optional
        Micrometres per pixel as the user states them; they override the file's.
    backend : str, optional
        "openslide", "tifffile", "pydicom", "zarr" or "fastslide" to insist on; default: what suits the file.
    cache : TileCache
        Where decoded blocks are kept; default: the one of the process.

    Raises
    ------
    SlideError
        The path does not exist, has a name that is no UTF-8, is no slide, is damaged, is no 8-bit
        colour image, or does not answer in time.
    PixelSizeError
        `mpp` is not a pixel size that a slide can have.
    """
    stated = None if mpp is None else pixel_size.from_user(mpp)
    where = locate(path)
    if not is_remote(where):
        require_utf8(where)
    opener = ReaderThreads(f"'{where}'", count=1)
    gave_up = threading.Event()

    def open_unless_late() -> tuple[Backend, str, FileStamps]:
        # Before it is opened, which can take seconds; what is no file the back ends explain.
        first = {} if is_remote(where) or not os.path.isfile(where) else stamps_of([where])
        opened, reason = open_backend(where, backend)
        if gave_up.is_set():
            opened.close()
            return opened, reason, first
        with ExitStack() as if_it_fails:
            if_it_fails.callback(opened.close)
            stamps = {**stamps_of([where, *pixel_files(where, opened)]), **first}
            if_it_fails.pop_all()
        return opened, reason, stamps

    try:
        opened, reason, stamps = opener.call(open_unless_late, READING_LIMIT_S)
    except SlideStalledError:
        gave_up.set()
        raise
    except OSError as error:
        raise SlideReadError(
            f"'{error.filename or where}' cannot be read any more: {error.strerror or error}. Its disk or "
            "network may be down: look whether all of it can be copied, and try again."
        ) from error
    finally:
        opener.close()
    return Slide(where, LevelReader(where, opened, reason, cache, stamps), stated)


class Slide:
    """An open slide. Reads may come from several threads; it is a context manager.

    Attributes
    ----------
    path : Path or UPath
        As it was given to `open_slide`.
    name : str
        The file's name.
    backend : str
        "openslide", "tifffile", "pydicom", "zarr" or "fastslide".
    backend_reason : str
        Why that one.
    colour : str
        What becomes of the file's colours.
    origin_px : tuple of int
        Where (y, x) the slide's level 0 begins in the file's own level-0 pixels: (0, 0), but where the
        file says that only a part of it was scanned; all coordinates here count from there.
    vendor : str or None
        The format's vendor, as the back end names it.
    levels : tuple of Level
        From the finest on.
    mpp : tuple of float, or None
        Micrometres per pixel of level 0 (y, x); None where no plausible value is known.
    mpp_source : str or None
        Where `mpp` comes from: a property or tag of the file, or "user".
    properties : mapping of str to str
        What the file says about itself.
    warnings : tuple of str
        What a reader of results has to know about the file.
    """

    def __init__(
        self, path: Path | UPath, reader: LevelReader, stated: pixel_size.PixelSize | None = None
    ) -> None:
        self.path = path
        self.reader = reader
        backend = reader.backend
        known = stated or pixel_size.first_plausible(backend.pixel_sizes)
        self.mpp: tuple[float, float] | None = known.mpp if known else None
        self.mpp_source: str | None = known.source if known else None
        self.name = path.name
        self.backend = backend.name
        self.backend_reason = reader.backend_reason
        self.colour = reader.colour.description
        self.origin_px = backend.origin_px
        self.vendor = backend.vendor
        self.levels: tuple[Level, ...] = backend.levels
        self.properties: Mapping[str, str] = backend.properties
        self.warnings = (
            *backend.warnings,
            *reader.colour.warnings,
            *pixel_size.doubts(known, backend.properties),
        )

    @property
    def size(self) -> Size:
        """Height and width of level 0."""
        return self.levels[0].size

    def __repr__(self) -> str:
        """Path, size and back end."""
        size = self.size
        return f"<Slide '{self.path}' {size.height} x {size.width} px, {self.backend}>"

    def __enter__(self) -> Self:
        """Enter a `with` block that closes the slide."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the slide."""
        self.close()

    def close(self) -> None:
        """Release the file; later reads raise `SlideReadError`. Closing twice is no fault."""
        self.reader.close()

    # ------------------------------------------------------------------ pixel size

    def with_mpp(self, mpp: float) -> Slide:
        """The same open slide with a pixel size stated by the user, in um/px.

        Both share the file: closing either ends the reads of both.
        """
        return Slide(self.path, self.reader, pixel_size.from_user(mpp))

    def require_mpp(self) -> tuple[float, float]:
        """Micrometres per pixel (y, x).

        Raises
        ------
        PixelSizeError
            None is known; the message says what the file states and how to state one.
        """
        if self.mpp is None:
            found = self.reader.backend.pixel_sizes
            raise PixelSizeError(pixel_size.missing_message(self.name, found, self.guess_mpp()))
        return self.mpp

    def guess_mpp(self) -> float | None:
        """A likely pixel size in um/px to suggest where none is known, or None."""
        return pixel_size.guess_mpp(self.properties)

    def enlargement(self, mpp: float) -> float:
        """Factor by which level 0 must be enlarged to reach `mpp`; 1.0 where it is fine enough.

        Raises
        ------
        PixelSizeError
            The factor is above 2, no pixel size is known, or `mpp` is no positive number.
        """
        if not (math.isfinite(mpp) and mpp > 0):
            raise PixelSizeError(f"{mpp} um/px was asked for; a pixel size is positive.")
        coarsest = max(self.require_mpp())
        factor = max(1.0, coarsest / mpp)
        if factor > MAX_ENLARGEMENT * (1 + 1e-9):
            raise PixelSizeError(
                f"'{self.name}' has {coarsest:.4g} um/px and {mpp:.4g} um/px was asked for: "
                f"it would be enlarged {factor:.3g} times, and {MAX_ENLARGEMENT:g} is the limit. "
                "Use a finer scan, or a model made for coarser pixels."
            )
        return factor

    # ------------------------------------------------------------------ reading

    def read(self, origin: tuple[float, float], size: Size, mpp: float) -> np.ndarray:
        """Pixels at a pixel size of choice.

        Read from the nearest finer level by the exact factor, each output pixel being the mean
        of the area it covers; a slide coarser than `mpp` is enlarged bilinearly.

        Parameters
        ----------
        origin : (y, x)
            Top left corner in level-0 pixels; it may lie between pixels or outside.
        size : Size
            Of the result, in pixels of `mpp`.
        mpp : float
            Micrometres per pixel of the result.

        Returns
        -------
        uint8 (size.height, size.width, 3). White outside the slide.

        Raises
        ------
        SlideReadError
            Part of the region is damaged.
        PixelSizeError
            As `enlargement`.
        """
        self.enlargement(mpp)
        own_y, own_x = self.require_mpp()
        return self.read_downsampled(origin, size, (mpp / own_y, mpp / own_x))

    def read_downsampled(
        self, origin: tuple[float, float], size: Size, downsample: tuple[float, float]
    ) -> np.ndarray:
        """As `read`, with level-0 pixels per output pixel (y, x); it needs no pixel size."""
        level = self.level_for(min(downsample))
        index, factor = self.levels.index(level), level.downsample
        start = (origin[0] / factor, origin[1] / factor)
        step = (downsample[0] / factor, downsample[1] / factor)
        result = np.empty((size.height, size.width, 3), np.uint8)
        for top, bottom in _spans(size.height, step[0]):
            rows = axis_weights(start[0] + top * step[0], step[0], bottom - top)
            for left, right in _spans(size.width, step[1]):
                columns = axis_weights(start[1] + left * step[1], step[1], right - left)
                source = Region(rows.first, columns.first, rows.length, columns.length)
                piece = resample(self.read_level(index, source), rows, columns)
                result[top:bottom, left:right] = piece
        return result

    def level_for(self, downsample: float) -> Level:
        """The coarsest level that is no coarser than `downsample`; level 0 if none is."""
        fine = [one for one in self.levels if one.downsample <= downsample * (1 + 1e-9)]
        return max(fine, key=lambda level: level.downsample, default=self.levels[0])

    def read_level(self, level: int, region: Region, keep: bool = False) -> np.ndarray:
        """Pixels of one level in sRGB: uint8 (height, width, 3), white outside, perhaps read-only.

        Parameters
        ----------
        level : int
            Index into `levels`.
        region : Region
            In that level's pixels.
        keep : bool
            Keep it all for the next time, as drawing does; see `LevelReader.read`.

        Raises
        ------
        SlideReadError
            Part of the region is damaged, or the slide is closed.
        """
        return self.reader.read(level, region, keep)

    def in_time(
        self, function: Callable[[], Result], seconds: float = READING_LIMIT_S, urgent: bool = False
    ) -> Result:
        """What a function that reads this slide gives, or an error if it takes too long.

        Raises
        ------
        SlideStalledError
            The time is up.
        SlideReadError
            The slide was closed; or whatever the function raised. See `ReaderThreads.call`.
        """
        return self.reader.threads.call(function, seconds, urgent)

    def in_order(
        self, functions: Iterable[Callable[[], Result]], ahead: int
    ) -> Generator[Result, None, None]:
        """What functions that read this slide give, in order, done in a few threads.

        See `ReaderThreads.in_order`, which raises `SlideStalledError` where one takes too long, and
        whatever one of them raises.
        """
        return self.reader.threads.in_order(functions, ahead, READING_LIMIT_S)

    # ------------------------------------------------------------------ the whole slide

    def thumbnail(self, max_px: int = 1024) -> np.ndarray:
        """The whole slide, its longer side at most `max_px`: uint8 (height, width, 3).

        Damaged parts are grey.

        Raises
        ------
        SlideReadError
            Nothing of the slide can be read.
        """
        return read_overview(self, fitted_size(self.size, max_px)).pixels


def _spans(count: int, step: float) -> Iterator[tuple[int, int]]:
    """Cut `count` output pixels so that each part needs few enough source pixels."""
    length = max(1, int(_SOURCE_SIDE_PX / step))
    for first in range(0, count, length):
        yield first, min(first + length, count)
