"""A zarr store in one ZIP file: OME-NGFF's `.ozx` (its RFC 9), or a store's folder that was zipped."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.storage import ZipStore

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.protocol import LARGEST_PIECE_BYTES
from napari_hmkd.slide.backends.shared_file import FileClosedError

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
"""Files of which a folder that is a zarr store has one."""

_MAGIC = b"PK\3\4"
_OF_MACOS = "__MACOSX"  # a folder that it adds to what it zips
_ENCRYPTED = 1  # of ZIP's flags
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def is_zip(path: Path) -> bool:
    """Whether it is a file that begins as a ZIP file does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


class ArchivedStore(ZipStore):
    """The store that begins at the top of a ZIP file, or in the only folder there.

    Once closed it stays so, where zarr's own opens the file again for a thread that still reads.

    Attributes
    ----------
    root : str
        Where it begins in the file: nothing, or the folder with a slash.

    Raises
    ------
    zipfile.BadZipFile
        The file was cut off.
    SlideError
        There is no store; or it is encrypted, compressed in an unusual way, or has a compressed file
        that is too large to be read whole.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="r")
        self._lock, self._zf = threading.RLock(), zipfile.ZipFile(path)
        self._is_open, self._is_closed = True, False
        try:
            self.root = _root(self._zf.NameToInfo, path)
            for file in self._zf.infolist():
                _require_readable(file, path)
        except BaseException:
            self.close()
            raise

    def read_file(self, name: str) -> bytes | None:
        """A small file of the store; None where there is none."""
        with self._lock:
            name = self.root + name
            return self._zf.read(name) if name in self._zf.NameToInfo else None

    def _get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if self._is_closed:
            raise FileClosedError("it was closed; open it again to read it")
        return super()._get(key, prototype, byte_range)

    def close(self) -> None:
        """Read no more, once the read under way is done; closing twice is no fault."""
        with self._lock:
            self._is_closed = True
            self._zf.close()


def _root(names: Collection[str], path: Path) -> str:
    tops = {name.partition("/")[0] for name in names if "/" in name} - {_OF_MACOS}
    places = ["", *(f"{top}/" for top in tops if len(tops) == 1)]
    for place in places:
        if any(place + mark in names for mark in MARKS):
            return place
    raise SlideError(
        f"'{path}' is a ZIP archive. Unpack it, and give the slide's file or folder in it."
    )


def _require_readable(file: zipfile.ZipInfo, path: Path) -> None:
    problem = None
    if file.flag_bits & _ENCRYPTED:
        problem = "is encrypted"
    elif file.compress_type not in _METHODS:
        problem = f"is compressed by ZIP's method {file.compress_type}, which is not read"
    elif file.compress_type != zipfile.ZIP_STORED and file.file_size > LARGEST_PIECE_BYTES:
        problem = (
            f"holds a compressed file of {file.file_size:,} bytes, which is read whole "
            f"({LARGEST_PIECE_BYTES:,} are the limit)"
        )
    if problem:
        raise SlideError(f"'{path}' {problem}. Unpack it, and open the folder.")
