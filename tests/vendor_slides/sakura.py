"""Writes a Sakura SVSLIDE, an SQLite database, after OpenSlide's description of the format."""

from __future__ import annotations

import io
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image
from tests.vendor_slides.common import MPP, TILE_PX, reduced

STEPS = (1, 2, 4)
UNIQUE = "8e0b1a40"
"""The table with the tiles, whose name is another in each slide."""

_TABLES = f"""
CREATE TABLE DataManagerSQLiteConfigXPO (TableName TEXT);
CREATE TABLE SVSlideDataXPO (OID INTEGER, m_labelScan INTEGER, m_overviewScan INTEGER,
    SlideId TEXT, Date TEXT, Description TEXT, Creator TEXT, DiagnosisCode TEXT, Keywords TEXT);
CREATE TABLE SVHRScanDataXPO (OID INTEGER, ParentSlide INTEGER, ScanId TEXT, Date TEXT, Name TEXT,
    Description TEXT, ResolutionMmPerPix REAL, NominalLensMagnification REAL, FocussingMethod TEXT,
    ThumbnailImage BLOB);
CREATE TABLE SVScannedImageDataXPO (OID INTEGER, Image BLOB);
CREATE TABLE "{UNIQUE}" (id TEXT PRIMARY KEY, size INTEGER, data BLOB);
"""


def write_svslide(
    path: Path, planes: Sequence[np.ndarray], label: np.ndarray, creator: str = ""
) -> None:
    """Write levels of focal planes, in tiles of one colour each, and the label in the three places for pictures."""
    height, width, _ = planes[0].shape
    header = struct.pack("<5I", TILE_PX, width, height, 0, len(planes))
    named = [("++MagicBytes", b"SVGigaPixelImage"), ("Header", header)]
    for number, pixels in enumerate(planes):
        named += _tiles(pixels, number)
    picture = _jpeg(label)
    rows: dict[str, list[tuple[object, ...]]] = {
        "DataManagerSQLiteConfigXPO": [(UNIQUE,)],
        "SVSlideDataXPO": [(1, 1, 2, "id", "2013-07-09", "", creator, "0", "")],
        "SVHRScanDataXPO": [(1, 1, "id", "2013-07-09", "", "", MPP / 1000, 20.0, "", picture)],
        "SVScannedImageDataXPO": [(1, picture), (2, picture)],
        UNIQUE: [(name, len(data), data) for name, data in named],
    }
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(_TABLES)
        for table, values in rows.items():
            marks = ", ".join("?" * len(values[0]))
            database.executemany(f'INSERT INTO "{table}" VALUES ({marks})', values)


def _tiles(pixels: np.ndarray, plane: int) -> Iterator[tuple[str, bytes]]:
    """The names and JPEGs of a plane's tiles, the last ones filled up with black."""
    for step in STEPS:
        small = reduced(pixels, step)
        padding = [(0, -side % TILE_PX) for side in small.shape[:2]]
        full = np.pad(small, [*padding, (0, 0)])
        for y, x in np.ndindex(full.shape[0] // TILE_PX, full.shape[1] // TILE_PX):
            tile = full[y * TILE_PX :, x * TILE_PX :][:TILE_PX, :TILE_PX]
            place = f"T;{x * TILE_PX * step}|{y * TILE_PX * step};{step}"
            for colour in range(3):
                yield f"{place};{colour};{plane}", _jpeg(tile[..., colour])


def _jpeg(pixels: np.ndarray) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=95)
    return stored.getvalue()
