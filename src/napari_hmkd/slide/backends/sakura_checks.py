"""What OpenSlide does not check in a Sakura SVSLIDE, an SQLite database, before it reads it."""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Size
from napari_hmkd.slide.backends.protocol import piece_problem, require_bytes

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
    where = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro&immutable=1"
    # What else is wrong is OpenSlide's to say.
    with suppress(sqlite3.Error), closing(sqlite3.connect(where, uri=True)) as database:
        database.text_factory = bytes  # whatever its encoding
        _require_tiles(path, database)
        _require_texts(path, database)


def _stated_bytes(header: bytes) -> int:
    """How long the database says it is, or its header where it is not known."""
    if len(header) < _HEADER_BYTES or header[24:28] != header[92:96]:  # written by an old library
        return _HEADER_BYTES
    page_bytes, pages = struct.unpack_from(">H10xI", header, 16)
    return (65_536 if page_bytes == 1 else page_bytes) * pages


def _require_tiles(path: Path, database: sqlite3.Connection) -> None:
    """Check what the tiles' table, whose name is another in each slide, says of itself."""
    for (table,) in database.execute("SELECT quote(TableName) FROM DataManagerSQLiteConfigXPO"):
        said = dict(
            database.execute(
                f"SELECT id, data FROM {table.decode()} WHERE id IN ('++MagicBytes', 'Header')"
            )
        )
        header = said.get(b"Header")
        side = int.from_bytes(header[:4], "little") if isinstance(header, bytes) else 0
        problem = piece_problem(Size(side, side)) if side else "its Header tells no size of tiles"
        if said.get(b"++MagicBytes", b"") is None:
            problem = "its ++MagicBytes are NULL"
        if problem:
            raise SlideError(
                f"'{path}' is damaged: {problem}, over which OpenSlide can crash. Copy it again from its source."
            )


def _require_texts(path: Path, database: sqlite3.Connection) -> None:
    names = [f"{table}.{column}" for table, columns in _TEXTS.items() for column in columns]
    tables = (
        "SVSlideDataXPO JOIN SVHRScanDataXPO ON SVHRScanDataXPO.ParentSlide = SVSlideDataXPO.OID"
    )
    row = database.execute(f"SELECT {', '.join(names)} FROM {tables}").fetchone()
    for name, value in zip(names, row or (), strict=False):
        if value is None:
            raise SlideError(
                f"'{path}' has no {name} at all (NULL), over which OpenSlide crashes. Write an empty text there "
                "with a tool for SQLite, or export the slide as DICOM or OME-TIFF."
            )
