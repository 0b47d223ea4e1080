"""Which OME-TIFFs are the parts of one slide that was written into several files."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import tifffile

from napari_hmkd.slide.backends.tiff_metadata import ome_root, without_raw_messages

_LOG = logging.getLogger(__name__)


def main_files(paths: Sequence[Path]) -> dict[Path, Path]:
    """The file that stands for its slide, of each other file in which a part of its images lies.

    Only headers are read. A file is a part if its name and, where it states one, its UUID are those
    that are named, and if its own header names no others instead: so no renamed copy is one. Nor is a
    file with an image of its own, though each header lists the images of all files.

    Parameters
    ----------
    paths : sequence of Path
        TIFFs; the first of those that name each other stands for all.
    """
    headers = {path: _header(path) for path in paths}
    named = {path: _named_files(path, header, headers) for path, header in headers.items()}
    mains: dict[Path, Path] = {}
    for main, parts in named.items():
        if main not in mains:
            mains |= {part: main for part in parts if not named[part] or main in named[part]}
    return mains


def _named_files(path: Path, header: Element, headers: Mapping[Path, Element]) -> list[Path]:
    """Which of the other files hold parts of the images that a file's header says are in it, too."""
    found: list[Path] = []
    for image in header.iterfind("{*}Image"):
        parts = [_part(path, header, data) for data in image.iterfind("{*}Pixels/{*}TiffData")]
        if any(part == path for part, _ in parts):
            found += [
                part
                for part, uuid in parts
                if part != path and part in headers and headers[part].get("UUID") in (None, uuid)
            ]
    return found


def _part(path: Path, header: Element, data: Element) -> tuple[Path, str | None]:
    """The file, and its UUID, in which a header says that planes lie; it lies beside the header's."""
    uuid = data.find("{*}UUID")
    if uuid is None or (uuid.text and uuid.text == header.get("UUID")):
        return path, None
    name = re.split(r"[/\\]", uuid.get("FileName", ""))[-1]  # a writer's folders are no more
    return path.parent / (name or path.name), uuid.text


def _header(path: Path) -> Element:
    """The OME header, or an empty element."""
    try:
        with without_raw_messages(), tifffile.TiffFile(path) as tiff:
            return ome_root(tiff)
    except Exception as error:  # what is wrong is said where it is opened
        _LOG.debug("'%s' has no header: %s", path, error)
        return Element("OME")
