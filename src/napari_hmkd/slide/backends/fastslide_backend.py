"""fastslide, an optional decoder: it reads a slide only where it sees what OpenSlide sees."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np

from napari_hmkd.errors import SlideError, SlideReadError
from napari_hmkd.geometry import Region
from napari_hmkd.slide.backends.openslide_backend import OpenSlideBackend
from napari_hmkd.slide.backends.protocol import Level
from napari_hmkd.slide.reader_threads import READING_LIMIT_S, ReaderThreads

MAX_LUMA_DIFFERENCE = 1.5
MAX_COLOUR_DIFFERENCE = 4.0
"""Mean absolute differences of a sample in grey values (0 to 255).

Measured against OpenSlide 4.0.1 (fastslide 0.8.1, six slides): luma at most 0.9, a channel at most
2.4, which is another way of enlarging JPEG's halved colours. A shift by one pixel gives more.
"""
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as JPEG has it
_SAMPLE_PX = 256
_PLACES = 4  # per side and level
_KEPT = 3  # the most varied ones are compared: blank glass is alike in every reader


class FastSlideBackend:
    """Pixels by fastslide, all else by OpenSlide; the two are compared when a slide is opened.

    ICC profiles are left to the slide's colour path: fastslide's own correction stays off.
    fastslide 0.8.1 decodes a JPEG tile whose data break off without a word, and never returns from
    one without a JPEG header: its reads run in threads of their own, with a time limit.
    """

    name = "fastslide"
    warnings = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._slide: Any = _open(path)
        self._threads = ReaderThreads(f"'{path}' with fastslide")
        weakref.finalize(self, self._threads.close)
        reference = OpenSlideBackend(path)
        self.vendor = reference.vendor
        self.properties = reference.properties
        self.files_beside = reference.files_beside
        self.pixel_sizes = reference.pixel_sizes
        self.icc_profile = reference.icc_profile
        self.origin_px = reference.origin_px
        self.levels = reference.levels
        try:
            _require_same_geometry(self._slide, reference)
            for level in range(len(self.levels)):
                self._require_same_pixels(reference, level)
        except BaseException:
            self.close()
            raise
        finally:
            reference.close()

    def read(self, level: int, region: Region) -> np.ndarray:
        """See `Backend.read`."""
        slide = self._slide
        if slide is None:
            raise SlideReadError(f"'{self._path.name}' was closed; open it again to read it.")
        corner, size = (region.x, region.y), (region.width, region.height)
        try:
            pixels = self._threads.call(
                lambda: np.array(slide.read_region(corner, level, size).numpy()),
                READING_LIMIT_S,
                urgent=True,  # what hangs once hangs for good
            )
        except SlideReadError:
            raise
        except Exception as error:  # fastslide raises RuntimeError for whatever goes wrong
            raise SlideReadError(
                f"'{self._path.name}', level {level}, {region} cannot be read: fastslide says "
                f'"{error}". That part of the file is damaged; other parts may be sound.'
            ) from error
        if pixels.shape != (region.height, region.width, 3) or pixels.dtype != np.uint8:
            raise SlideReadError(
                f"'{self._path.name}', level {level}: fastslide gave {pixels.dtype} {pixels.shape} "
                f"where 8-bit RGB of {region.height} x {region.width} px was asked for."
            )
        return pixels

    def _require_same_pixels(self, reference: OpenSlideBackend, level: int) -> None:
        """Compare the most varied of some regions of a level.

        Raises
        ------
        SlideError
            One of them differs by more than decoders do.
        """
        regions = _sample_regions(self.levels[level], reference.steps[level])
        samples = [(region, reference.read(level, region).astype(float)) for region in regions]
        samples.sort(key=lambda sample: -float(sample[1].std()))
        for region, expected in samples[:_KEPT]:
            difference = self.read(level, region) - expected
            luma = float(np.abs(difference @ _LUMA).mean())
            colour = float(np.abs(difference).mean(axis=(0, 1)).max())
            if luma > MAX_LUMA_DIFFERENCE or colour > MAX_COLOUR_DIFFERENCE:
                raise SlideError(
                    f"its pixels differ from OpenSlide's at level {level}, row {region.y}, column "
                    f"{region.x}: by {luma:.1f} grey values in brightness and {colour:.1f} in a "
                    f"colour on average; {MAX_LUMA_DIFFERENCE:g} and {MAX_COLOUR_DIFFERENCE:g} are "
                    "the limits."
                )

    def close(self) -> None:
        """See `Backend.close`. The handle goes when the last read under way lets go of it."""
        self._slide = None
        self._threads.close()


def _open(path: Path) -> Any:
    try:
        from fastslide import FastSlide
    except ImportError as error:
        raise SlideError('fastslide is not installed: pip install "napari-hmkd[fast]".') from error
    return FastSlide.from_file_path(path, apply_icc=False)


def _require_same_geometry(slide: Any, reference: OpenSlideBackend) -> None:
    """Compare dimensions, level downsamples and pixel size.

    Raises
    ------
    SlideError
        One of them is another than OpenSlide's.
    """
    sizes = [(height, width) for width, height in slide.level_dimensions]
    expected_sizes = [(level.size.height, level.size.width) for level in reference.levels]
    if sizes != expected_sizes:
        raise SlideError(f"its levels are {sizes}, OpenSlide's {expected_sizes} (height, width).")
    factors = list(slide.level_downsamples)
    expected_factors = list(reference.steps)
    if not np.allclose(factors, expected_factors, rtol=1e-3):
        raise SlideError(f"its downsamples are {factors}, OpenSlide's {expected_factors}.")
    x, y = slide.mpp
    stated = (y, x) if x > 0 and y > 0 else None
    expected = reference.pixel_sizes[0].mpp if reference.pixel_sizes else None
    if stated is None or expected is None:
        same = stated is expected
    else:
        same = bool(np.allclose(stated, expected, rtol=1e-3))
    if not same:
        raise SlideError(f"its um/px are {stated}, OpenSlide's {expected} (y, x).")


def _sample_regions(level: Level, step: float) -> list[Region]:
    """Regions all over a level, at places where OpenSlide need not interpolate.

    OpenSlide takes whole pixels of level 0: where a level's pixel begins between two of them, it
    shifts the image by the rest.
    """
    height, width = min(_SAMPLE_PX, level.size.height), min(_SAMPLE_PX, level.size.width)
    rows = _starts(level.size.height - height, step)
    columns = _starts(level.size.width - width, step)
    return [Region(y, x, height, width) for y in rows for x in columns]


def _starts(last: int, step: float) -> list[int]:
    every = np.arange(last + 1) * step
    aligned = np.flatnonzero(np.abs(every - np.rint(every)) < 0.02 * step)  # 0 always is
    wanted = np.linspace(0, last, _PLACES)
    return sorted({int(aligned[np.abs(aligned - one).argmin()]) for one in wanted})
