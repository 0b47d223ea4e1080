"""What a TIFF says about itself: vendor, properties, and whether it is whole."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.protocol import require_bytes

_TEXT_TAGS = ("ImageDescription", "Make", "Model", "Software", "DateTime")
_APERIO_KEYS = ("AppMag", "MPP", "Date", "Time", "ScanScope ID")
"""What of an Aperio header is passed on: others can name a patient."""


@contextmanager
def without_raw_messages() -> Iterator[None]:
    """Keep from the user what tifffile logs about damage, "<tifffile.TiffPages @16> ...": errors say it in words."""
    log = logging.getLogger("tifffile")

    # Each time another function, as files are opened in threads.
    def mute(_record: logging.LogRecord) -> bool:
        return False

    log.addFilter(mute)
    try:
        yield
    finally:
        log.removeFilter(mute)


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


def require_files(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Check that the files that an OME-TIFF is made of are all there.

    Raises
    ------
    SlideError
        Some are missing, or cannot be read.
    """
    if all(page is not None for level in series.levels for page in level.pages):
        return
    named = {uuid.get("FileName", "") for uuid in ome_root(tiff).iterfind(".//{*}UUID")}
    missing = sorted(name for name in named if name and not (path.parent / name).is_file())
    which = ", ".join(missing) if missing else "one or more of them (their names are not stated)"
    raise SlideError(
        f"'{path}' is a part of a slide of several files, of which cannot be found or read: {which}. "
        "Put all of them into the same folder."
    )


def require_all_pages(tiff: tifffile.TiffFile, path: Path) -> None:
    """Check that the chain of pages ends in the file, before tifffile looks for those that a header names.

    Raises
    ------
    SlideError
        The file was cut off, as by an interrupted copy.
    """
    require_bytes(path, _next_page(tiff))


def require_whole(
    tiff: tifffile.TiffFile, path: Path, series: tifffile.TiffPageSeries | None = None
) -> None:
    """Check that pages have their tiles, and that these and the chain of pages end in the file.

    Parameters
    ----------
    tiff : tifffile.TiffFile
    path : Path
        For messages.
    series : tifffile.TiffPageSeries, optional
        Whose levels are looked at; default: all pages, as a scanner's own layout may use any of them.

    Raises
    ------
    SlideError
        The file was cut off, as by an interrupted copy, its header is damaged, or no tile was written.
    """
    needed, written = _next_page(tiff), False
    levels = [tiff] if series is None else series.levels
    for page in (page for level in levels for page in level.pages):
        if page is None or page.parent.filehandle.path != tiff.filehandle.path:
            written = True
            continue  # an OME-TIFF can name other files
        offsets, counts = np.array(page.dataoffsets), np.array(page.databytecounts)
        pieces = math.prod(page.chunked)
        if series is None and not page.is_tiled and not len(offsets) * len(counts):
            continue  # a label that was taken out
        if not len(offsets) == len(counts) == pieces:
            raise SlideError(
                f"'{path}' is damaged: its header states an image of {pieces:,} tiles or strips, "
                f"and says where {min(len(offsets), len(counts)):,} of them lie. "
                "Copy it again from its source."
            )
        written = written or bool(counts.any())
        needed = max(needed, int((offsets + counts).max()))
    if series is not None and not written:
        raise SlideError(f"'{path}' is damaged: no tile of its image was written. Export it again.")
    require_bytes(path, needed)


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


def ome_root(tiff: tifffile.TiffFile) -> ElementTree.Element:
    """The OME header, or an empty element: an unusable header states nothing."""
    try:
        return ElementTree.fromstring(tiff.ome_metadata or "<OME/>")
    except ElementTree.ParseError:
        return ElementTree.Element("OME")


def ome_pixels(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> list[ElementTree.Element]:
    """What an OME header says of the pixels of each image of a page's size."""
    size = {"SizeY": str(page.imagelength), "SizeX": str(page.imagewidth)}
    found = ome_root(tiff).iterfind("{*}Image/{*}Pixels")
    return [pixels for pixels in found if size.items() <= pixels.attrib.items()]


def properties(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> dict[str, str]:
    """Readable tags under OpenSlide's names (`tiff.Software`), and the scan's figures."""
    tags = series.keyframe.tags
    values = {f"tiff.{name}": tags.valueof(name) for name in _TEXT_TAGS}
    if tiff.is_svs:
        del values["tiff.ImageDescription"]
    ome = ome_root(tiff)
    objective, acquired = (
        ome.find("{*}Instrument/{*}Objective"),
        ome.find("{*}Image/{*}AcquisitionDate"),
    )
    if objective is not None:
        values["ome.NominalMagnification"] = objective.get("NominalMagnification")
    if acquired is not None:
        values["ome.AcquisitionDate"] = acquired.text
    values |= aperio_header(tiff)
    return {name: str(value) for name, value in values.items() if value is not None}
