"""What lies behind the header of a DICOM image: places and offsets of its frames, and their pixels.

pydicom makes objects of what is told of each frame, which takes 13 s for 90,000 frames: their places are
looked for by their tags instead.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.dicom_header import IMPLICIT, PER_FRAME, DicomHeader, read_elements

_EXTENDED_OFFSETS, _EXTENDED_LENGTHS, _PIXELS = 0x7FE00001, 0x7FE00002, 0x7FE00010
_UNDEFINED = 0xFFFFFFFF

_BODY = re.compile(rb"\xe0\x7f(?:\x01\x00OV|\x10\x00O[BW])\0\0")
"""The start of the extended offset table or of the pixels."""

_COLUMN = re.compile(rb"\x48\0\x1e\x02(?:SL\x04\0|\x04\0\0\0)(.{4})", re.DOTALL)
_ROW = re.compile(rb"\x48\0\x1f\x02(?:SL\x04\0|\x04\0\0\0)(.{4})", re.DOTALL)
"""Column and RowPositionInTotalImagePixelMatrix of a frame, in an explicit and an implicit header."""

_CHUNK_BYTES = 2**20
_MOST_PER_FRAME_BYTES = 2**28  # about 500 bytes for each of half a million frames


@dataclass(frozen=True, slots=True)
class DicomBody:
    """What lies behind a header.

    Attributes
    ----------
    per_frame : tuple of int
        First byte of what is told of each frame, and the one behind the last.
    offsets, lengths : ndarray
        The extended offset table: uint64 (n,), empty where there is none.
    start : int
        First byte of the pixels.
    count : int or None
        Bytes of the pixels; None where they are in items, as all compressed ones are.
    """

    per_frame: tuple[int, int]
    offsets: np.ndarray
    lengths: np.ndarray
    start: int
    count: int | None


def read_body(header: DicomHeader) -> DicomBody:
    """Find the pixels behind a header, and read the extended offset table before them.

    Raises
    ------
    OSError
        The system cannot read the file.
    SlideError
        The file ends before its pixels.
    ValueError
        No pixels follow where they should.
    """
    implicit = header.syntax == IMPLICIT
    with header.path.open("rb") as file:
        file.seek(header.end)
        start = end = header.end
        tag, count = _element(file, implicit)
        if tag == PER_FRAME:
            start = file.tell()
            end = start + count if count != _UNDEFINED else _find_body(file, header)
        file.seek(end)
        found = read_elements(file, [_EXTENDED_OFFSETS, _EXTENDED_LENGTHS], _PIXELS, implicit)
        tag, count = _element(file, implicit)
        if tag != _PIXELS:
            raise ValueError("no pixels follow its header")
        return DicomBody(
            (start, end),
            np.frombuffer(found.get(_EXTENDED_OFFSETS, b""), "<u8"),
            np.frombuffer(found.get(_EXTENDED_LENGTHS, b""), "<u8"),
            file.tell(),
            None if count == _UNDEFINED else count,
        )


def _element(file: BinaryIO, implicit: bool) -> tuple[int, int]:
    """Tag and number of bytes of a long element, whose value is read next."""
    layout = struct.Struct("<HHL" if implicit else "<HH4xL")
    data = file.read(layout.size)
    if len(data) < layout.size:
        raise _truncated(file)
    group, element, count = layout.unpack(data)
    return group << 16 | element, count


def _find_body(file: BinaryIO, header: DicomHeader) -> int:
    """The first place from here on where an offset table or the pixels begin."""
    pattern = _BODY
    if header.syntax == IMPLICIT:  # no kind is told, but the number of bytes is known
        count = header.frames * header.tile.height * header.tile.width * 3
        pattern = re.compile(re.escape(struct.pack("<HHL", 0x7FE0, 0x10, count + count % 2)))
    start, last = file.tell(), b""
    for at in range(start, start + _MOST_PER_FRAME_BYTES, _CHUNK_BYTES):
        data = last + file.read(_CHUNK_BYTES)
        if match := pattern.search(data):
            return at - len(last) + match.start()
        if len(data) < _CHUNK_BYTES:
            raise _truncated(file)
        last = data[-8:]
    raise ValueError("no pixels were found behind what it tells of each frame")


def _truncated(file: BinaryIO) -> SlideError:
    size = os.fstat(file.fileno()).st_size
    return SlideError(
        f"'{file.name}' is truncated: it has {size:,} bytes and ends before its pixels. "
        "Copy it again from its source."
    )


def frame_corners(header: DicomHeader, body: DicomBody) -> tuple[np.ndarray, np.ndarray]:
    """Where each frame of a sparse image lies: int64 (frames,) of rows and of columns, from 0 on.

    Raises
    ------
    OSError
        The system cannot read the file.
    ValueError
        It does not tell so of each frame, or not in a readable length.
    """
    start, end = body.per_frame
    if end - start > _MOST_PER_FRAME_BYTES:
        raise ValueError(f"it tells of each frame in {end - start:,} bytes")
    with header.path.open("rb") as file:
        file.seek(start)
        told = file.read(end - start)
    rows, columns = (
        np.frombuffer(b"".join(pattern.findall(told)), "<i4").astype(np.int64) - 1
        for pattern in (_ROW, _COLUMN)
    )
    if not len(rows) == len(columns) == header.frames:
        raise ValueError(f"it has {header.frames:,} frames and tells the place of {len(rows):,}")
    return rows, columns
