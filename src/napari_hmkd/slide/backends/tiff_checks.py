"""Whether an image of a TIFF is one that can be graded, and one that tifffile decodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Size
from napari_hmkd.slide.backends.protocol import UndecodableError, piece_problem
from napari_hmkd.slide.backends.tiff_plane import stores_rows

RGB_AXES = {"YXS", "SYX", "CYX"}
"""Axes of a colour image: samples together, samples in planes, one page per channel."""

_RGB, _YCBCR, _GREY, _PALETTE = (
    tifffile.PHOTOMETRIC.RGB,
    tifffile.PHOTOMETRIC.YCBCR,
    tifffile.PHOTOMETRIC.MINISBLACK,
    tifffile.PHOTOMETRIC.PALETTE,
)
_JPEG = (
    tifffile.COMPRESSION.JPEG,
    tifffile.COMPRESSION.OJPEG,
    tifffile.COMPRESSION.ALT_JPEG,
    tifffile.COMPRESSION.JPEG_LOSSY,
)


def require_gradable(series: tifffile.TiffPageSeries, path: Path) -> None:
    """Check that a series is a slide's image, whoever decodes it.

    Raises
    ------
    SlideError
        It is not 8-bit colour, it has depth or time, or its tiles are too large.
    """
    problem = _content_problem(series)
    problem = problem or _first_problem(_colour_problem, series.levels)
    problem = problem or _first_problem(_size_problem, series.levels)
    if problem:
        raise SlideError(
            f"'{path}' is no slide that can be graded: {problem}. Needed is an 8-bit RGB image "
            "(brightfield, one plane); export it as such."
        )


def require_decodable(series: tifffile.TiffPageSeries) -> None:
    """Check that tifffile gives all of a gradable series, in its colours.

    Raises
    ------
    UndecodableError
        It does not.
    """
    problem = _first_problem(_coding_problem, series.levels)
    if series.kind == "svs":
        problem = problem or _first_problem(_gap_problem, series.levels[1:])
    if problem:
        raise UndecodableError(f"{problem}.")


def _first_problem(
    check: Callable[[tifffile.TiffPageSeries], str | None], levels: list[tifffile.TiffPageSeries]
) -> str | None:
    return next(filter(None, map(check, levels)), None)


def _content_problem(series: tifffile.TiffPageSeries) -> str | None:
    """Why the series is not 8-bit colour of one plane, or None."""
    page = series.keyframe
    if series.dtype != np.uint8:
        return f"its pixels are {series.dtype}"
    if page.bitspersample != 8:
        return f"its pixels have {page.bitspersample} bits per channel"
    if series.axes not in RGB_AXES:
        if page.photometric == _PALETTE:
            return "its colours are those of a palette"
        kind = "it is a grey image" if series.axes == "YX" else f"its axes are {series.axes}"
        return f"{kind} of shape {series.shape}"
    separate = "C" in series.axes
    channels = series.shape[series.axes.index("C" if separate else "S")]
    if channels != 3 and (separate or channels != 4):  # the fourth sample is alpha
        return f"it has {channels} channels"
    return None


def _colour_problem(level: tifffile.TiffPageSeries) -> str | None:
    """Why its channels are not red, green and blue, or None."""
    page = level.keyframe
    grey = page.photometric == _GREY and level.axes != "YXS"  # each channel a grey image
    if page.photometric not in (_RGB, _YCBCR) and not grey:
        return f"its colours are stored as {getattr(page.photometric, 'name', page.photometric)}"
    return None


def _size_problem(level: tifffile.TiffPageSeries) -> str | None:
    """Why its tiles or strips cannot be read whole, or None."""
    page = level.keyframe
    if stores_rows(page):
        return None
    rows, columns = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    )
    return piece_problem(Size(rows, columns))


def _coding_problem(level: tifffile.TiffPageSeries) -> str | None:
    """Why tifffile does not bring its 8-bit colours to RGB, or None."""
    page = level.keyframe
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        return f"its compression {int(page.compression)} is unknown"
    if page.compression == tifffile.COMPRESSION.APERIO_JP2000_YCBC:
        return "its colours are stored as YCbCr in JPEG 2000"
    converted = page.compression in _JPEG and page.planarconfig == 1 and not page.extrasamples
    if page.photometric == _YCBCR and not converted:
        return "its colours are stored as YCBCR, and not as JPEG has them"
    return None


def _gap_problem(level: tifffile.TiffPageSeries) -> str | None:
    """Why an Aperio level needs the finer one, or None: some scanners leave tiles empty by mistake."""
    page = level.keyframe
    if 0 not in page.databytecounts:
        return None
    return (
        f"its level of {page.imagelength:,} x {page.imagewidth:,} px has empty tiles, which are to be "
        "filled from the finer level"
    )
