"""What a TIFF states about its pixel size: in the headers of OME, Aperio and ImageJ, and in its tags."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from xml.etree import ElementTree

import tifffile

from napari_hmkd.slide.backends.pixel_size import (
    MAKE_SURE,
    PixelSize,
    from_sides,
    stated_number,
    um_per_unit,
)
from napari_hmkd.slide.backends.tiff_metadata import aperio_header, ome_pixels, ome_root

_SIDES = re.compile(r"(?<![(\d])(\d+)x(\d+)")
"""Width and height of an image in an Aperio header; those of a tile stand in brackets."""

_UM_PER_RESOLUTION_UNIT = {2: 25400.0, 3: 10000.0}  # inch, centimetre; 1 is "no unit"


def pixel_sizes(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[PixelSize, ...]:
    """Statements about level 0's pixel size: OME's, Aperio's or ImageJ's, then the resolution tags."""
    page = series.keyframe
    found = [
        _ome_pixel_size(tiff, page),
        _aperio_pixel_size(tiff),
        _imagej_pixel_size(tiff, page),
        _tag_pixel_size(page),
    ]
    return tuple(size for size in found if size is not None)


def _ome_pixel_size(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> PixelSize | None:
    """What is stated for the image that a page belongs to; None where that is not certain.

    The header's n-th image need not be tifffile's n-th: that leaves out those without data here.
    """
    images, own = ome_pixels(tiff, page), ome_root(tiff).get("UUID")
    holders = [
        pixels
        for pixels in images
        if any(_holds(data, page, tiff, own) for data in pixels.iterfind("{*}TiffData"))
    ]
    stated = {_ome_sides(pixels.attrib) for pixels in holders or images}
    return stated.pop() if len(stated) == 1 else None


def _holds(
    data: ElementTree.Element, page: tifffile.TiffPage, tiff: tifffile.TiffFile, own: str | None
) -> bool:
    """Whether an image's `TiffData` names the page; `own` is the UUID of the file `tiff`."""
    uuid = data.find("{*}UUID")
    here = uuid is None or (own is not None and uuid.text == own)
    name = tiff.filehandle.name if here or uuid is None else uuid.get("FileName", "")
    if name.lower() != page.parent.filehandle.name.lower() or not isinstance(page.index, int):
        return False
    first = int(data.get("IFD", 0))
    count = data.get("PlaneCount", data.get("NumPlanes", "1" if "IFD" in data.attrib else None))
    return first <= page.index and (count is None or page.index < first + int(count))


def _ome_sides(pixels: Mapping[str, str]) -> PixelSize | None:
    return from_sides(_ome_side(pixels, "Y"), _ome_side(pixels, "X"), "OME PhysicalSizeX")


def _ome_side(pixels: Mapping[str, str], axis: str) -> float | None:
    side = stated_number(pixels, f"PhysicalSize{axis}")
    um = um_per_unit(pixels.get(f"PhysicalSize{axis}Unit", "um"))
    return None if side is None or um is None else side * um


def _aperio_pixel_size(tiff: tifffile.TiffFile) -> PixelSize | None:
    side = stated_number(aperio_header(tiff), "aperio.MPP")
    return from_sides(side, side, "aperio.MPP")


def copied_aperio_doubt(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[str, ...]:
    """A warning where an Aperio header is that of an image of another size, as of one that was shrunk."""
    if "aperio.MPP" not in aperio_header(tiff):
        return ()
    told = tiff.pages.first.description.partition("|")[0]
    sizes = [tuple(map(int, sides)) for sides in _SIDES.findall(told)]
    if not sizes or (page.imagewidth, page.imagelength) in sizes:
        return ()
    return (
        f"the Aperio header is that of an image of another size, and its pixel size may be, too: {MAKE_SURE}",
    )


def _imagej_pixel_size(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> PixelSize | None:
    """ImageJ has the tags count pixels per a unit of its own, which its header names.

    Where the tags name a unit of theirs, another program has written them anew.
    """
    header = tiff.imagej_metadata or {}
    unit = header.get("unit")
    y, x = (um_per_unit(one) for one in (header.get("yunit", unit), unit))
    own = _UM_PER_RESOLUTION_UNIT.get(page.tags.valueof(296, 1))
    if own is not None and x != own:
        return None
    return _from_densities(page, y, x, "ImageJ's unit")


def _tag_pixel_size(page: tifffile.TiffPage) -> PixelSize | None:
    unit = page.tags.valueof(296, 2)
    um = _UM_PER_RESOLUTION_UNIT.get(unit) if isinstance(unit, int) else None
    return _from_densities(page, um, um, "TIFF resolution")


def _from_densities(
    page: tifffile.TiffPage, y_um: float | None, x_um: float | None, source: str
) -> PixelSize | None:
    """From YResolution and XResolution, which count pixels per so many micrometres."""
    return from_sides(_side(page, 283, y_um), _side(page, 282, x_um), source)


def _side(page: tifffile.TiffPage, code: int, um: float | None) -> float | None:
    density = _positive_number(page.tags.valueof(code))
    return None if um is None or density is None else um / density


def _positive_number(value: object) -> float | None:
    """A tag's fraction (numerator, denominator) or number; None where it is no positive one."""
    parts = value if isinstance(value, tuple) else (value,)
    numerator, denominator = (*parts, 1)[:2] if parts else (None, 1)
    if not all(isinstance(part, int | float) and part > 0 for part in (numerator, denominator)):
        return None
    number = float(numerator) / float(denominator)
    return number if 0 < number < math.inf else None
