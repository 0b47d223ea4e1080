"""Which image of a TIFF is the slide, and whether it is one that can be read and graded."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.protocol import LARGEST_PIECE_BYTES
from napari_hmkd.slide.backends.tiff_plane import stores_rows

RGB_AXES = {"YXS", "SYX", "CYX"}
"""Axes of a colour image: samples together, samples in planes, one page per channel."""

_RGB, _YCBCR, _GREY = (
    tifffile.PHOTOMETRIC.RGB,
    tifffile.PHOTOMETRIC.YCBCR,
    tifffile.PHOTOMETRIC.MINISBLACK,
)
_JPEG = (
    tifffile.COMPRESSION.JPEG,
    tifffile.COMPRESSION.OJPEG,
    tifffile.COMPRESSION.ALT_JPEG,
    tifffile.COMPRESSION.JPEG_LOSSY,
)
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of "label_image", "MacroImage", "Label 1"
_BESIDE = re.compile("(slide)?(label|barcode|macro|overview|thumbnail)s?(image)?")
"""Words for pictures beside the slide; a label's can carry a patient's name."""
_WITH_LABEL = re.compile("(slide)?(label|barcode|macro)s?(image)?")
_SHORT = 40  # characters


class UndecodableError(SlideError):
    """A TIFF of 8-bit colour in a form that tifffile does not bring to RGB; OpenSlide may."""


def slide_series(tiff: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """The slide's image, if it is one that can be graded: the largest that is no label or overview.

    Its levels are those of tifffile less what is a label: tifffile takes any page of half the size
    for a level.

    Raises
    ------
    UndecodableError
        tifffile cannot bring its colours to RGB.
    SlideError
        It is not 8-bit colour, it has depth or time, its tiles are too large, or there is only a
        label.
    """
    series = _largest_slide([one for one in tiff.series if one.size > 0], tiff, path)
    series.levels[1:] = [
        level for level in series.levels[1:] if not _has_word(_BESIDE, _title(level, tiff))
    ]
    problem = _content_problem(series)
    problem = problem or _first_problem(_colour_problem, series.levels)
    problem = problem or _first_problem(_size_problem, series.levels)
    undecodable = _first_problem(_coding_problem, series.levels)
    if problem or undecodable:
        raise (SlideError if problem else UndecodableError)(
            f"'{path}' is no slide that can be graded: {problem or undecodable}. Needed is an 8-bit "
            "RGB image (brightfield, one plane); export it as such."
        )
    return series


def _largest_slide(
    every: list[tifffile.TiffPageSeries], tiff: tifffile.TiffFile, path: Path
) -> tifffile.TiffPageSeries:
    if not every:
        raise SlideError(f"'{path}' is a TIFF without an image in it.")
    slides = [
        one
        for one in every
        if not _has_word(_BESIDE, _title(one, tiff))
        and (_is_first(one, tiff) or not one.keyframe.is_reduced)
    ]
    if len(every) == 1 and not _has_word(_WITH_LABEL, _title(every[0], tiff)):
        slides = every  # the only image may be called "Overview of the tumour"
    if not slides:
        raise SlideError(  # without its name: that can be a patient's
            f"'{path}' has no slide's image, only what is called a label, macro or overview. A label "
            "can name a patient and is not shown; if it is the slide, export it under another name."
        )
    return max(slides, key=lambda one: math.prod(one.shape))


def _is_first(series: tifffile.TiffPageSeries, tiff: tifffile.TiffFile) -> bool:
    return bool(series.keyframe.offset == tiff.pages.first.offset)


def _title(series: tifffile.TiffPageSeries, tiff: tifffile.TiffFile) -> str:
    """What an image is called: its name, and its description where that is no long header."""
    description: str = series.keyframe.description
    header = _is_first(series, tiff) and len(description) > _SHORT
    if series.kind == "svs" or header:
        description = ""
    return f"{series.name} {description}".strip()


def _has_word(pattern: re.Pattern[str], text: str) -> bool:
    return any(pattern.fullmatch(word.lower()) for word in _WORD.findall(text))


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
    size = rows * columns * 3
    if size <= LARGEST_PIECE_BYTES:
        return None
    return (
        f"it is stored in pieces of {size / 1e6:,.0f} MB, each of which is read whole "
        f"({LARGEST_PIECE_BYTES / 1e6:,.0f} MB is the limit)"
    )


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
