"""Where in its file each frame of a DICOM image lies, however that is told."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.encaps import generate_fragments, parse_basic_offsets

from napari_hmkd.slide.backends.dicom_body import DicomBody
from napari_hmkd.slide.backends.dicom_header import DicomHeader
from napari_hmkd.slide.backends.protocol import LARGEST_PIECE_BYTES, UndecodableError, require_bytes
from napari_hmkd.slide.backends.shared_file import SharedFile

_ITEM = b"\xfe\xff\0\xe0"
_ITEM_BYTES = 8  # an item's tag and length, before its value
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51")
"""Of JPEG and of JPEG 2000, in whose data FF 4F alone can stand, too."""


@dataclass(frozen=True, slots=True)
class FrameTable:
    """First byte of each frame, and the one behind its last: int64 (n,); with the items' headers."""

    starts: np.ndarray
    ends: np.ndarray


class Frames:
    """The frames of one file.

    A file whose offset table is missing, or not in order, as that of a file of more than 4 GB can be, is
    searched for its frames when the first one is read: that visits each of them.

    Attributes
    ----------
    misleading : bool
        The file has an offset table that is not that of its frames in their order.
    """

    def __init__(self, header: DicomHeader, body: DicomBody) -> None:
        self._header = header
        self._searching = threading.Lock()
        self._in_items = body.count is None
        self._first_item = 0
        self.misleading = False
        if body.count is None:
            with header.path.open("rb") as file:
                offsets = _basic_offsets(file, body.start, header.path)
                self._first_item = file.tell()
                self.misleading = _uneven(body) or not all(
                    _in_order(stated, header.frames)
                    for stated in (offsets, body.offsets)
                    if len(stated)
                )
                self._table = _encapsulated(file, header, body, offsets)
        else:
            self._table = _plain(header, body.start, body.count)
        if self._table is not None:
            require_bytes(header.path, int(self._table.ends.max()))

    def read(self, file: SharedFile, number: int) -> bytes:
        """A frame as it is stored.

        Raises
        ------
        OSError, FileClosedError
            As `SharedFile.read`.
        ValueError
            The file has no such frame, ends in it, or has something else there.
        """
        table = self._found()
        if number >= len(table.starts):
            raise ValueError(f"the file has only {len(table.starts):,} frames")
        start, end = int(table.starts[number]), int(table.ends[number])
        if end - start > LARGEST_PIECE_BYTES:
            raise ValueError(f"it is said to have {end - start:,} bytes")
        data = file.read(start, end - start)
        if not self._in_items:
            return data
        length = int.from_bytes(data[len(_ITEM) : _ITEM_BYTES], "little")
        if data.startswith(_ITEM) and length == len(data) - _ITEM_BYTES:
            return data[_ITEM_BYTES:]  # nearly always: to look for more takes 3 % of a tile's time
        return b"".join(generate_fragments(data))

    def _found(self) -> FrameTable:
        with self._searching:
            if self._table is None:
                self._table = _search(self._header, self._first_item)
            return self._table


def _plain(header: DicomHeader, start: int, count: int) -> FrameTable:
    size = header.tile.height * header.tile.width * 3
    needed = header.frames * size
    if count - needed not in (0, 1):  # a zero makes it even
        raise UndecodableError(f"its pixels have {count:,} bytes in place of {needed:,}.")
    require_bytes(header.path, start + needed)
    starts = start + np.arange(header.frames, dtype=np.int64) * size
    return FrameTable(starts, starts + size)


def _basic_offsets(file: BinaryIO, start: int, path: Path) -> np.ndarray:
    """The basic offset table, int64 (n,), perhaps empty; leaves the file at the first item behind it."""
    file.seek(start + 4)
    require_bytes(path, start + _ITEM_BYTES + int.from_bytes(file.read(4), "little"))
    file.seek(start)
    return np.array(parse_basic_offsets(file), np.int64)


def _in_order(offsets: np.ndarray, frames: int) -> bool:
    """Whether an offset table is that of so many frames, one behind the other."""
    if len(offsets) != frames or offsets[0]:
        return False
    return bool((offsets[1:] > offsets[:-1]).all())


def _encapsulated(
    file: BinaryIO, header: DicomHeader, body: DicomBody, offsets: np.ndarray
) -> FrameTable | None:
    """What the extended or the basic offset table says; None where neither can be used."""
    first = file.tell()
    if len(body.offsets):
        return _extended(header, body, first)
    if not _in_order(offsets, header.frames):
        return None
    starts = first + offsets
    require_bytes(header.path, int(starts[-1]) + _ITEM_BYTES)
    _, end = _items(file, int(starts[-1]))
    return FrameTable(starts, np.append(starts[1:], end))


def _uneven(body: DicomBody) -> bool:
    """Whether the table leaves out what makes frames even, as that of pydicom before 3.0 does."""
    return bool((body.offsets % 2).any())


def _extended(header: DicomHeader, body: DicomBody, first: int) -> FrameTable | None:
    if not len(body.offsets) == len(body.lengths) == header.frames:
        raise UndecodableError(
            f"its offset table is that of {len(body.offsets):,} frames in place of {header.frames:,}."
        )
    for values in (body.offsets, body.lengths):
        require_bytes(header.path, first + int(values.max()))
    if _uneven(body):
        return None
    starts = first + body.offsets.astype(np.int64)
    return FrameTable(starts, starts + _ITEM_BYTES + body.lengths.astype(np.int64))


def _items(file: BinaryIO, start: int) -> tuple[list[int], int]:
    """First bytes of the items that follow one another from here on, and the byte behind the last."""
    found: list[int] = []
    at = start
    while True:
        file.seek(at)
        head = file.read(_ITEM_BYTES)
        if len(head) < _ITEM_BYTES or not head.startswith(_ITEM):
            return found, at
        found.append(at)
        at += _ITEM_BYTES + int.from_bytes(head[4:], "little")


def _search(header: DicomHeader, first: int) -> FrameTable:
    """Go from item to item: each is a frame, or each that begins as a picture does."""
    with header.path.open("rb") as file:
        items, end = _items(file, first)
        if len(items) != header.frames:
            items = [at for at in items if _begins_frame(file, at)]
    starts = np.array(items, np.int64)
    return FrameTable(starts, np.append(starts, end)[1:])


def _begins_frame(file: BinaryIO, item: int) -> bool:
    file.seek(item + _ITEM_BYTES)
    return file.read(4).startswith(_STARTS)
