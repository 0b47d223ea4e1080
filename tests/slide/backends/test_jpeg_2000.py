"""JPEG 2000 whose header is damaged costs no memory: OpenJPEG would take what the header says."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from skimage.data import astronaut

from napari_hmkd.errors import SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.backends.jpeg_2000 import require_picture

TILE = astronaut()[:64, :64].copy()
SIDES, TILES = 6, 22
"""Where from the segment's mark on the picture's far edges and its tiles' sides stand."""


def changed(data: bytes, at: int, values: bytes) -> bytes:
    start = data.index(b"\xff\x51") + at
    return data[:start] + values + data[start + len(values) :]


@pytest.mark.parametrize("codecformat", ["j2k", "jp2"])
@pytest.mark.parametrize(
    ("at", "values", "why"),
    [
        (SIDES, struct.pack(">II", 60_000, 60_000), "60000 x 60000 px"),
        (SIDES, struct.pack(">I", 2**32 - 1), "64 x 4294967295 px"),
        (SIDES, struct.pack(">I", 0), "64 x 0 px"),
        (TILES, struct.pack(">II", 1, 1), None),
        (TILES, struct.pack(">II", 0, 64), "tiles of 64 x 0 px"),
        (38, struct.pack(">H", 16384), "16384 channels"),
    ],
)
def test_a_header_that_says_too_much_is_refused(codecformat: str, at: int, values: bytes, why):
    data = imagecodecs.jpeg2k_encode(TILE, level=0, codecformat=codecformat)
    require_picture(data, Size(64, 64), 3)
    if why is None:  # so many are bearable
        require_picture(changed(data, at, values), Size(64, 64), 3)
    else:
        with pytest.raises(ValueError, match=why):
            require_picture(changed(data, at, values), Size(64, 64), 3)


@pytest.mark.parametrize("data", [b"", b"\xff\x4f\xff\x51", bytes(99)])
def test_what_is_no_jpeg_2000_is_refused(data: bytes):
    with pytest.raises(ValueError, match="no JPEG 2000 data"):
        require_picture(data, Size(64, 64), 3)


def test_a_picture_at_the_edge_may_be_smaller_than_its_tile():
    require_picture(imagecodecs.jpeg2k_encode(TILE[:40, :50].copy()), Size(64, 64), 3)


@pytest.mark.parametrize("kind", ["34712", "33004", "dicom"])
def test_a_tile_that_says_too_much_is_damage_of_its_own(tmp_path: Path, write_dicom, kind: str):
    pixels = np.hstack([TILE, TILE])
    if kind != "dicom":
        path = tmp_path / "a.tif"
        layout = {"tile": (64, 64), "compression": int(kind), "photometric": "rgb"}
        tifffile.imwrite(path, pixels, **layout)
    else:
        (path,) = write_dicom(
            tmp_path, [pixels], coding="jpeg 2000, lossless", photometric="YBR_RCT"
        )
    path.write_bytes(changed(path.read_bytes(), SIDES, struct.pack(">II", 9_000, 9_000)))
    with open_slide(path) as slide:
        with pytest.raises(SlideReadError, match="hold 9000 x 9000 px"):
            slide.read_level(0, Region(0, 0, 64, 64))
        sound = slide.read_level(0, Region(0, 64, 64, 64)).astype(int)
    assert np.abs(sound - TILE).mean() < 8


@pytest.mark.parametrize("kind", [34712, 33004])
def test_a_tile_that_breaks_off_is_damage_and_not_a_blurred_picture(tmp_path: Path, kind: int):
    path = tmp_path / "a.tif"
    layout = {"tile": (64, 64), "compression": kind, "photometric": "rgb"}
    tifffile.imwrite(path, np.hstack([TILE, TILE]), **layout)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = tiff.pages[0].tags["TileByteCounts"]
        counts.overwrite([counts.value[0] // 2, counts.value[1]])
    with open_slide(path) as slide:
        with pytest.raises(SlideReadError, match="break off"):
            slide.read_level(0, Region(0, 0, 64, 64))
        sound = slide.read_level(0, Region(0, 64, 64, 64)).astype(int)
    assert np.abs(sound - TILE).mean() < 8
