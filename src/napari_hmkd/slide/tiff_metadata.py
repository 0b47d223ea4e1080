"""What a TIFF says about itself: which series is the slide, its pixel size, whether it is whole."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.pixel_size import PixelSize

RGB_AXES = {"YXS", "SYX", "CYX"}
"""Axes of a colour image: samples together, samples in planes, one page per channel."""

_OTHER_COLOURS = (
    tifffile.PHOTOMETRIC.MINISWHITE,
    tifffile.PHOTOMETRIC.PALETTE,
    tifffile.PHOTOMETRIC.SEPARATED,
    tifffile.PHOTOMETRIC.CIELAB,
)
_UM_PER_UNIT = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "\N{MICRO SIGN}m": 1.0,
    "\N{GREEK SMALL LETTER MU}m": 1.0,
    "um": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "Å": 1e-4,
    "in": 25400.0,
}
_UM_PER_RESOLUTION_UNIT = {2: 25400.0, 3: 10000.0}  # inch, centimetre; 1 is "no unit"
_TEXT_TAGS = ("ImageDescription", "Make", "Model", "Software", "DateTime")
_APERIO_KEYS = ("AppMag", "MPP", "Date", "Time", "ScanScope ID")
"""What of an Aperio header is passed on: others can name a patient."""
_ASSOCIATED = re.compile("(label|macro|overview|thumbnail|barcode)( image)?")
"""Names of pictures beside the slide; a label's can carry a patient's name."""
_LARGEST_PIECE_BYTES = 2**30


def slide_series(tiff: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """The slide's image, if it is one that can be graded: the largest that is no label or overview.

    Raises
    ------
    SlideError
        It is not 8-bit colour, it has depth or time, or its compression is unknown.
    """
    every = [s for s in tiff.series if s.size > 0 and not _ASSOCIATED.fullmatch(s.name.lower())]
    if not every:
        raise SlideError(f"'{path}' is a TIFF without a slide's image in it.")
    series = max(every, key=lambda one: math.prod(one.shape))
    problem = _problem(series)
    if problem:
        raise SlideError(
            f"'{path}' is no slide that can be graded: {problem}. Needed is an 8-bit RGB image "
            "(brightfield, one plane); export it as such."
        )
    return series


def _problem(series: tifffile.TiffPageSeries) -> str | None:
    """Why the series is not 8-bit colour of one plane, or None."""
    page = series.keyframe
    if series.dtype != np.uint8:
        return f"its pixels are {series.dtype}"
    if series.axes not in RGB_AXES:
        kind = "it is a grey image" if series.axes == "YX" else f"its axes are {series.axes}"
        return f"{kind} of shape {series.shape}"
    separate = "C" in series.axes
    channels = series.shape[series.axes.index("C" if separate else "S")]
    if channels != 3 and (separate or channels != 4):  # the fourth sample is alpha
        return f"it has {channels} channels"
    if page.photometric in _OTHER_COLOURS:
        return f"its colours are stored as {tifffile.PHOTOMETRIC(page.photometric).name}"
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        return f"its compression {int(page.compression)} is unknown"
    piece = (
        page.tilelength * page.tilewidth if page.is_tiled else page.rowsperstrip * page.imagewidth
    )
    if page.compression != tifffile.COMPRESSION.NONE and piece * channels > _LARGEST_PIECE_BYTES:
        return "it is compressed in pieces of more than a gigabyte, each of which is read whole"
    return None


def vendor(tiff: tifffile.TiffFile) -> str:
    """The scanner's or the format's name, as OpenSlide has it where it has one."""
    if tiff.is_svs:
        return "aperio"
    return "ome-tiff" if tiff.is_ome else "tiff"


def aperio_header(tiff: tifffile.TiffFile) -> dict[str, str]:
    """What an Aperio slide says about its scan, under OpenSlide's names; empty for other files."""
    if not tiff.is_svs:
        return {}
    fields = dict(
        part.split(" = ", 1) for part in tiff.pages[0].description.split("|")[1:] if " = " in part
    )
    return {f"aperio.{key}": fields[key].strip() for key in _APERIO_KEYS if key in fields}


def require_whole(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Check that every level has its tiles, and that they and the chain of pages end in the file.

    Raises
    ------
    SlideError
        The file was cut off, as by an interrupted copy, or its header is damaged.
    """
    present = path.stat().st_size
    needed = _next_page(tiff)
    for level in series.levels:
        for page in level.pages:
            if page is None or page.parent.filehandle.path != tiff.filehandle.path:
                continue  # an OME-TIFF can name other files
            offsets, counts = np.array(page.dataoffsets), np.array(page.databytecounts)
            pieces = math.prod(page.chunked)
            if not len(offsets) == len(counts) == pieces:
                raise SlideError(
                    f"'{path}' is damaged: its header states an image of {pieces:,} tiles or strips, "
                    f"and says where {min(len(offsets), len(counts)):,} of them lie. "
                    "Copy it again from its source."
                )
            needed = max(needed, int((offsets + counts).max()))
    if needed > present:
        raise SlideError(
            f"'{path}' is truncated: it has {present:,} bytes and goes on at {needed:,}. "
            "Copy it again from its source."
        )


def _next_page(tiff: tifffile.TiffFile) -> int:
    """Where the last page that was found says that the next one is; 0 is the end of the chain.

    If the file ends before it says so: where that would have stood.
    """
    layout, file = tiff.tiff, tiff.filehandle
    start = tiff.pages[len(tiff.pages) - 1].offset
    file.seek(start)
    tags = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))[0]
    end = start + layout.tagnosize + tags * layout.tagsize
    file.seek(end)
    link = file.read(layout.offsetsize)
    if len(link) < layout.offsetsize:
        return int(end + layout.offsetsize)
    return int(struct.unpack(layout.offsetformat, link)[0])


def pixel_sizes(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[PixelSize, ...]:
    """Statements about level 0's pixel size: OME's or Aperio's header, then the resolution tags."""
    pixels = _ome_root(tiff).findall("{*}Image/{*}Pixels")
    index = tiff.series.index(series)  # tifffile keeps the order of the OME images
    ome = _ome_pixel_size(pixels[index].attrib) if index < len(pixels) else None
    found = [ome, _aperio_pixel_size(tiff), _tag_pixel_size(series.keyframe)]
    return tuple(size for size in found if size is not None)


def _ome_root(tiff: tifffile.TiffFile) -> ElementTree.Element:
    """The OME header, or an empty element: an unusable header states nothing."""
    try:
        return ElementTree.fromstring(tiff.ome_metadata or "<OME/>")
    except ElementTree.ParseError:
        return ElementTree.Element("OME")


def _ome_pixel_size(pixels: Mapping[str, str]) -> PixelSize | None:
    stated = {}
    for axis in "YX":
        unit = pixels.get(f"PhysicalSize{axis}Unit", "\N{MICRO SIGN}m")
        try:
            stated[axis] = float(pixels[f"PhysicalSize{axis}"]) * _UM_PER_UNIT[unit]
        except (KeyError, ValueError):
            continue
    return _from_sides(stated.get("Y"), stated.get("X"), "OME PhysicalSizeX")


def _aperio_pixel_size(tiff: tifffile.TiffFile) -> PixelSize | None:
    try:
        side = float(aperio_header(tiff)["aperio.MPP"])
    except (KeyError, ValueError):
        return None
    return PixelSize((side, side), "aperio.MPP")


def _tag_pixel_size(page: tifffile.TiffPage) -> PixelSize | None:
    unit = page.tags.valueof(296, 2)
    if int(unit) not in _UM_PER_RESOLUTION_UNIT:
        return None
    sides = []
    for code in (283, 282):  # YResolution, XResolution: pixels per unit
        numerator, denominator = page.tags.valueof(code, (0, 1))
        usable = numerator > 0 and denominator > 0
        um_per_unit = _UM_PER_RESOLUTION_UNIT[int(unit)]
        sides.append(um_per_unit * denominator / numerator if usable else None)
    return _from_sides(sides[0], sides[1], "TIFF resolution")


def _from_sides(y: float | None, x: float | None, source: str) -> PixelSize | None:
    """One side alone speaks for both."""
    first = y if y is not None else x
    second = x if x is not None else y
    return None if first is None or second is None else PixelSize((first, second), source)


def properties(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> dict[str, str]:
    """Readable tags under OpenSlide's names (`tiff.Software`), and the scan's figures."""
    tags = series.keyframe.tags
    values = {f"tiff.{name}": tags.valueof(name) for name in _TEXT_TAGS}
    if tiff.is_svs:
        del values["tiff.ImageDescription"]
    objective = _ome_root(tiff).find("{*}Instrument/{*}Objective")
    if objective is not None:
        values["ome.NominalMagnification"] = objective.get("NominalMagnification")
    values |= aperio_header(tiff)
    return {name: str(value) for name, value in values.items() if value is not None}
