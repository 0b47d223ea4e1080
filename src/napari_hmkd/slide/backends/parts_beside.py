"""Slides whose pixels lie in files beside the one that is opened: MRXS, VMS and VMU."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.protocol import require_bytes

MIRAX_SUFFIX = ".mrxs"
_SETTINGS = "Slidedat.ini"
_INDEX_VERSION = "01.02"
_NGR = struct.Struct("<4x2i12xi")
"""Width, height and the header's length."""
_NGR_PIXEL_BYTES = 6
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_JPEG_TAIL_BYTES = 65_536
_SHOWN_IMAGE = re.compile(r"hamamatsu\.ImageFile(\(0\)|\((0,)?\d+,\d+\))?")
"""Of a VMS or VMU, at (x, y), in the focal plane 0, (z) or (z, x, y), which alone OpenSlide shows."""


def parts_beside(path: Path, properties: Mapping[str, str]) -> tuple[Path, ...]:
    """The files beside `path` with the slide's pixels, in a fixed order, of a slide that OpenSlide opened.

    Raises
    ------
    SlideError
        One of an MRXS is missing or was cut off, of which OpenSlide looks at the coarsest level alone; or
        one of a VMS or VMU was cut off, of which OpenSlide looks at the header.
    """
    vendor = properties.get("openslide.vendor")
    if vendor == "mirax":
        return _mirax_files(path, properties)
    if vendor == "hamamatsu":
        shown = sorted(key for key in properties if _SHOWN_IMAGE.fullmatch(key))
        for key in (*shown, "hamamatsu.MapFile"):
            if key in properties:  # not in an NDPI
                _require_whole(path.parent / properties[key])
        return tuple(path.parent / properties[key] for key in shown)
    return ()


def is_mirax_data(folder: Path) -> bool:
    """Whether a folder is the one of an MRXS."""
    return os.path.isfile(folder / _SETTINGS)


def meant_by_data(folder: Path) -> str:
    """What to tell someone who gave the folder of an MRXS."""
    folder = Path(os.path.abspath(folder))  # "." has no name
    file = folder.with_name(folder.name + MIRAX_SUFFIX)
    if file.is_file():
        return f"'{folder}' has the pixels of the slide '{file.name}' beside it. Give that file."
    return (
        f"'{folder}' has the pixels of an MRXS slide, whose file '{file.name}' beside it is missing. Copy both, "
        "and give the file."
    )


def mirax_problem(path: Path) -> str | None:
    """Why OpenSlide does not know a file by its name an MRXS; None of another file."""
    if path.suffix.lower() != MIRAX_SUFFIX:
        return None
    folder = path.with_suffix("")
    if not folder.is_dir():
        return (
            f"'{path}' is a part of a slide: its pixels lie in a folder '{folder.name}' beside it, "
            "which is missing. Copy both."
        )
    if not is_mirax_data(folder):
        return (
            f"'{path}' is a part of a slide: the folder '{folder.name}' beside it has no {_SETTINGS}; it "
            "was not copied whole. Copy both again from their source."
        )
    if path.suffix != MIRAX_SUFFIX:
        return (
            f"'{path}' is known to OpenSlide as '{folder.name}{MIRAX_SUFFIX}' alone. Rename it so."
        )
    return None


def _require_whole(file: Path) -> None:
    """Check that a file of a VMS or VMU, which OpenSlide opened, goes on to its end."""
    with file.open("rb") as opened:
        header = opened.read(_NGR.size)
        opened.seek(max(0, file.stat().st_size - _JPEG_TAIL_BYTES))
        tail = opened.read()
    if header.startswith(b"GN"):
        width, height, start = _NGR.unpack(header)
        require_bytes(file, start + width * height * _NGR_PIXEL_BYTES)
    elif header.startswith(_JPEG_START) and _JPEG_END not in tail:  # no such bytes are in its data
        raise SlideError(
            f"'{file}' is truncated: its JPEG data break off. Copy it again from its source."
        )


def _mirax_files(path: Path, properties: Mapping[str, str]) -> tuple[Path, ...]:
    folder = path.with_suffix("")
    index = (folder / properties["mirax.HIERARCHICAL.INDEXFILE"]).read_bytes()
    start = len(_INDEX_VERSION) + len(properties["mirax.GENERAL.SLIDE_ID"])
    needed = np.zeros(int(properties["mirax.DATAFILE.FILE_COUNT"]), np.int64)
    for images in _pages(index, start, int(properties["openslide.level-count"])):
        _, offset, length, number = images.T
        np.maximum.at(needed, number, offset.astype(np.int64) + length)
    found = []
    for number in np.flatnonzero(needed):
        found.append(folder / properties[f"mirax.DATAFILE.FILE_{number}"])
        if not found[-1].is_file():
            raise SlideError(
                f"'{path}' is not whole: '{found[-1].name}' is missing in the folder '{folder.name}' beside "
                "it. Copy both again from their source."
            )
        require_bytes(found[-1], int(needed[number]))
    return tuple(found)


def _pages(index: bytes, start: int, levels: int) -> Iterator[NDArray[np.int32]]:
    """The images in Index.dat, (n, 4) at a time: number, offset, length and data file.

    A level's record is a list of pages, each with its count of images and the next page's place.
    """
    (table,) = struct.unpack_from("<i", index, start)
    for (record,) in struct.iter_unpack("<i", index[table : table + 4 * levels]):
        (page,) = struct.unpack_from("<4xi", index, record)
        while page:
            count, following = struct.unpack_from("<2i", index, page)
            yield np.frombuffer(index, "<i4", 4 * count, page + 8).reshape(-1, 4)
            page = following
