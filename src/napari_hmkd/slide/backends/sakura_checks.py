"""What OpenSlide does not check in a Sakura SVSLIDE, an SQLite database, before it reads it."""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.protocol import require_bytes

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_TEXTS = {
    "SVSlideDataXPO": ("SlideId", "Date", "Description", "Creator", "DiagnosisCode", "Keywords"),
    "SVHRScanDataXPO": ("ScanId", "FocussingMethod"),
}
"""What OpenSlide takes for text; over NULL it ends the process, in which others have unsaved work."""


def require_sound_database(path: Path) -> None:
    """Check a file that is an SQLite database; of any other nothing is asked.

    Raises
    ------
    SlideError
        It was cut off, or OpenSlide would end the process over it.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header.startswith(_MAGIC):
        return
    require_bytes(path, _stated_bytes(header))
    if missing := _missing_text(path):
        raise SlideError(
            f"'{path}' has no {missing} at all (NULL), over which OpenSlide crashes. Write an empty text there "
            "with a tool for SQLite, or export the slide as DICOM or OME-TIFF."
        )


def _stated_bytes(header: bytes) -> int:
    """How long the database says it is, or its header where it is not known."""
    if len(header) < _HEADER_BYTES or header[24:28] != header[92:96]:  # written by an old library
        return _HEADER_BYTES
    page_bytes, pages = struct.unpack_from(">H10xI", header, 16)
    return (65_536 if page_bytes == 1 else page_bytes) * pages


def _missing_text(path: Path) -> str | None:
    """The first of the texts that is NULL; what else is wrong is OpenSlide's to say."""
    names = [f"{table}.{column}" for table, columns in _TEXTS.items() for column in columns]
    tables = (
        "SVSlideDataXPO JOIN SVHRScanDataXPO ON SVHRScanDataXPO.ParentSlide = SVSlideDataXPO.OID"
    )
    where = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(where, uri=True)) as database:
            database.text_factory = bytes  # whatever its encoding
            row = database.execute(f"SELECT {', '.join(names)} FROM {tables}").fetchone()
    except sqlite3.Error:
        return None
    return next(
        (name for name, value in zip(names, row or (), strict=False) if value is None), None
    )
