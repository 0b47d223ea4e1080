"""A zarr store in one ZIP file: OME-NGFF's `.ozx` (its RFC 9), or a store's folder that was zipped."""

from __future__ import annotations

import zipfile
from pathlib import Path

from upath import UPath
from zarr.storage import ZipStore

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.slide.backends.protocol import LARGEST_PIECE_BYTES

MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
"""Files of which a folder that is a zarr store has one."""

_ZIP = b"PK\3\4"
_ENCRYPTED = 1  # of ZIP's flags


def is_zip(path: Path) -> bool:
    """Whether a file begins as a ZIP file does."""
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


def archived_root(path: Path | UPath) -> zipfile.Path | None:
    """Where in a ZIP file a zarr store begins: at its top, or in the only folder there.

    Returns
    -------
    None where `path` is no ZIP file of this machine, or holds no store there.

    Raises
    ------
    zipfile.BadZipFile
        It was cut off.
    SlideError
        Its files are encrypted, or one that is compressed is too large to be read whole.
    """
    if is_remote(path) or not (path.is_file() and is_zip(path)):
        return None
    top = zipfile.Path(path)
    # macOS adds a folder of its own to what it zips.
    folders = [one for one in top.iterdir() if one.is_dir() and one.name != "__MACOSX"]
    places = [top, *folders] if len(folders) == 1 else [top]
    found = next((one for one in places if any((one / mark).is_file() for mark in MARKS)), None)
    if found is not None:
        _require_readable(found.root, path)
    return found


def archived_store(root: zipfile.Path) -> ZipStore:
    """The store of a whole ZIP file; `root.at` is where the one found begins in it."""
    return ZipStore(Path(str(root.root.filename)), mode="r")


def _require_readable(archive: zipfile.ZipFile, path: Path) -> None:
    for file in archive.infolist():
        if file.flag_bits & _ENCRYPTED:
            raise SlideError(f"'{path}' is encrypted. Unpack it, and open the folder.")
        if file.compress_type != zipfile.ZIP_STORED and file.file_size > LARGEST_PIECE_BYTES:
            raise SlideError(
                f"'{path}' holds a compressed file of {file.file_size:,} bytes, which is read whole; "
                f"{LARGEST_PIECE_BYTES:,} are the limit. Unpack it, and open the folder."
            )
