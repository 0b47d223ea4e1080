"""Which OME-TIFFs are the parts of one slide that was written into several files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import tifffile

from napari_hmkd.slide.backends.tiff_metadata import ome_root, without_raw_messages

_LOG = logging.getLogger(__name__)


def main_files(paths: Sequence[Path]) -> dict[Path, Path]:
    """The file that stands for its slide, of each other file which that one's header names.

    Only headers are read. A file is a part if its name and, where it states one, its UUID are those
    that are named, and if its own header names no others instead: so no renamed copy is one.

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
    """Which of the other files a file's header names."""
    found = []
    for uuid in header.iterfind(".//{*}UUID"):
        other = path.with_name(uuid.get("FileName") or path.name)
        if other != path and other in headers and headers[other].get("UUID") in (None, uuid.text):
            found.append(other)
    return found


def _header(path: Path) -> Element:
    """The OME header, or an empty element."""
    try:
        with without_raw_messages(), tifffile.TiffFile(path) as tiff:
            return ome_root(tiff)
    except Exception as error:  # what is wrong is said where it is opened
        _LOG.debug("'%s' has no header: %s", path, error)
        return Element("OME")
