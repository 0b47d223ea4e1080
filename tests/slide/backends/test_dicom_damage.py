"""DICOM slides that are damaged or no slides: an error, or a tile that is marked, and never a crash."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
import simplejpeg
from pydicom.encaps import generate_frames
from skimage.data import astronaut

from napari_hmkd.errors import SlideError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.backends.shared_file import SharedFile
from napari_hmkd.slide.loading.cache import TileCache

PIXELS = astronaut()[:256, :256]
WHOLE = Region(0, 0, 256, 256)
LAST = Region(200, 200, 40, 40)
ENDED = [{}, {"table": "extended"}, {"coding": "plain", "photometric": "RGB"}]


def replace(file: Path, old: bytes, new: bytes) -> None:
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


def set_elements(file: Path, **values: object) -> None:
    data = pydicom.dcmread(file)
    for keyword, value in values.items():
        setattr(data, keyword, value)
    data.save_as(file)


def frame(file: Path, number: int) -> bytes:
    data = pydicom.dcmread(file)
    return list(generate_frames(data.PixelData, number_of_frames=data.NumberOfFrames))[number]


@pytest.mark.parametrize("more", ENDED, ids=["basic table", "extended table", "uncompressed"])
@pytest.mark.parametrize("share", [0.6, 0.98])
@pytest.mark.parametrize("backend", [None, "pydicom", "openslide"])
def test_a_truncated_file_is_refused_at_once(tmp_path, write_dicom, more, share, backend):
    (file,) = write_dicom(tmp_path, [PIXELS], **more)
    os.truncate(file, int(share * file.stat().st_size))
    with pytest.raises(SlideError, match=r"0\.dcm' is truncated"):
        open_slide(file, backend=backend)


@pytest.mark.parametrize("at", [131, 300, 600])
def test_a_file_that_ends_in_its_header_is_refused(tmp_path: Path, write_dicom, at: int):
    (file,) = write_dicom(tmp_path, [PIXELS])
    os.truncate(file, at)
    with pytest.raises(SlideError, match=r"0\.dcm"):
        open_slide(file)


def test_without_a_table_what_is_left_of_a_truncated_file_is_read(tmp_path: Path, write_dicom):
    (file,) = write_dicom(tmp_path, [PIXELS], table="none")
    os.truncate(file, int(0.7 * file.stat().st_size))
    with open_slide(file) as slide:
        with pytest.raises(SlideReadError, match="tile 15 cannot be read: the file has only"):
            slide.read_level(0, LAST)
        shown = slide.read_level(0, Region(0, 0, 64, 256)).astype(int)
        assert np.abs(shown - PIXELS[:64]).mean() < 8


def test_without_a_table_frames_before_a_damaged_one_are_read(tmp_path: Path, write_dicom):
    (file,) = write_dicom(tmp_path, [PIXELS], table="none")
    old = frame(file, 5)
    place = file.read_bytes().index(old) - 8
    with file.open("r+b") as out:
        out.seek(place)
        out.write(bytes(4))
    with open_slide(file) as slide:
        with pytest.raises(SlideReadError, match="tile 15 cannot be read: the file has only 5"):
            slide.read_level(0, LAST)
        shown = slide.read_level(0, Region(0, 0, 64, 256)).astype(int)
        assert np.abs(shown - PIXELS[:64]).mean() < 8


@pytest.mark.parametrize("table", ["basic", "extended"])
def test_an_offset_table_that_leads_out_of_the_file_is_refused(tmp_path, write_dicom, table):
    (file,) = write_dicom(tmp_path, [PIXELS], table=table)
    data = pydicom.dcmread(file)
    if table == "extended":
        offsets = np.frombuffer(data.ExtendedOffsetTable, "<u8").copy()
        offsets[-1] = 2**63 + 5
        set_elements(file, ExtendedOffsetTable=offsets.tobytes())
    else:
        stored = bytearray(data.PixelData)
        stored[8 + 4 * 15 : 8 + 4 * 16] = b"\xf0\xff\xff\xff"
        set_elements(file, PixelData=bytes(stored))
    with pytest.raises(SlideError, match=r"truncated: it has [\d,]+ bytes and goes on at"):
        open_slide(file)


def test_an_offset_table_out_of_order_does_not_matter(tmp_path: Path, write_dicom):
    """As that of a file of more than 4 GB, whose offsets begin anew; OpenSlide can crash over it."""
    (file,) = write_dicom(tmp_path, [PIXELS])
    with open_slide(file) as slide:
        sound = slide.read_level(0, WHOLE).copy()
    stored = bytearray(pydicom.dcmread(file).PixelData)
    stored[12:16], stored[16:20] = stored[16:20], stored[12:16]
    set_elements(file, PixelData=bytes(stored))
    with open_slide(file, cache=TileCache(0)) as slide:
        assert slide.backend == "pydicom"
        assert np.array_equal(slide.read_level(0, WHOLE), sound)
    with pytest.raises(SlideError, match="damaged: its offset table"):
        open_slide(file, backend="openslide")


def test_an_extended_table_without_the_bytes_that_make_frames_even_does_not_matter(
    tmp_path: Path, write_dicom
) -> None:
    """pydicom before 3.0 wrote such ones."""
    (file,) = write_dicom(tmp_path, [PIXELS], table="extended")
    with open_slide(file) as slide:
        sound = slide.read_level(0, WHOLE).copy()
    lengths = [len(frame(file, number).removesuffix(b"\0")) for number in range(16)]
    assert any(length % 2 for length in lengths[:-1])
    starts = np.cumsum([0, *(8 + length for length in lengths[:-1])])
    tables = (np.array(one, "<u8").tobytes() for one in (starts, lengths))
    values = zip(("ExtendedOffsetTable", "ExtendedOffsetTableLengths"), tables, strict=True)
    set_elements(file, **dict(values))
    with open_slide(file, cache=TileCache(0)) as slide:
        assert slide.backend == "pydicom"
        assert np.array_equal(slide.read_level(0, WHOLE), sound)
    with pytest.raises(SlideError, match="damaged: its offset table"):
        open_slide(file, backend="openslide")


@pytest.mark.parametrize("what", ["data", "item", "too few rows"])
def test_an_unreadable_frame_is_an_error_of_its_tile_alone(tmp_path: Path, write_dicom, what: str):
    (file,) = write_dicom(tmp_path, [PIXELS])
    old = frame(file, 5)
    low = simplejpeg.encode_jpeg(np.ascontiguousarray(PIXELS[:16, :64]), quality=30)
    if what == "item":
        place = file.read_bytes().index(old) - 8
        replace(file, file.read_bytes()[place:][: 8 + len(old)], b"\0" * 8 + old)
    elif what == "data":
        half = len(old) // 2
        replace(file, old, old[:half] + bytes(len(old) - half))
    else:
        replace(file, old, low + bytes(len(old) - len(low)))
    with open_slide(file) as slide:
        with pytest.raises(SlideReadError, match=r"0\.dcm', level 0, tile 5 cannot be read"):
            slide.read_level(0, WHOLE)
        for place in (Region(0, 0, 64, 256), Region(64, 128, 64, 128), LAST):
            shown = slide.read_level(0, place).astype(int)
            expected = PIXELS[place.y : place.bottom, place.x : place.right]
            assert np.abs(shown - expected).mean() < 8


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ({"Rows": 65535, "Columns": 65535}, "stored in pieces of 12,885 MB"),
        ({"DimensionOrganizationType": "TILED_SPARSE"}, "tell where each frame lies"),
        ({"DimensionOrganizationType": "3D"}, "as '3D' it has to tell"),
    ],
)
@pytest.mark.parametrize("backend", [None, "pydicom", "openslide"])
def test_what_would_end_the_process_in_openslide_is_refused_before(
    tmp_path: Path, write_dicom, backend, spoil, why: str
):
    (file,) = write_dicom(tmp_path, [PIXELS])
    set_elements(file, **spoil)
    with pytest.raises(SlideError, match=why):
        open_slide(file, backend=backend)


@pytest.mark.parametrize("frames", [15, 17])
def test_a_wrong_number_of_frames_is_refused(tmp_path: Path, write_dicom, frames: int):
    (file,) = write_dicom(tmp_path, [PIXELS])
    set_elements(file, NumberOfFrames=frames)
    with pytest.raises(SlideError, match=f"{frames} frames in place of 16"):
        open_slide(file)


def test_dicom_of_another_kind_is_no_slide(tmp_path: Path, write_dicom):
    (file,) = write_dicom(tmp_path, [PIXELS])
    data = pydicom.dcmread(file)
    data.SOPClassUID = pydicom.uid.CTImageStorage
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.save_as(file)
    for path in (file, tmp_path):
        with pytest.raises(SlideError, match=r"no whole-slide image|neither"):
            open_slide(path)
    with pytest.raises(SlideError, match="no whole-slide DICOM"):
        open_slide(file, backend="pydicom")


def test_a_giant_opens_and_is_read_in_little_memory(tmp_path: Path, write_dicom):
    """3 GB, of which the file system keeps no more than the header."""
    (file,) = write_dicom(tmp_path, [PIXELS], coding="plain", photometric="RGB")
    side, tile = 32_768, 512
    set_elements(
        file, TotalPixelMatrixRows=side, TotalPixelMatrixColumns=side, Rows=tile, Columns=tile,
        NumberOfFrames=(side // tile) ** 2,
    )  # fmt: skip
    start = file.read_bytes().index(b"\xe0\x7f\x10\0OB\0\0") + 8
    with file.open("r+b") as out:
        out.seek(start)
        out.write((3 * side**2).to_bytes(4, "little"))
        out.truncate(start + 4 + 3 * side**2)
    tracemalloc.start()
    with open_slide(file, cache=TileCache(0)) as slide:
        shown = slide.read_level(0, Region(20_000, 20_000, 100, 100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert slide.backend == "pydicom"
    assert not shown.any()
    assert peak < 10e6


def test_a_file_that_is_cut_while_it_is_open_is_an_error(tmp_path: Path, write_dicom):
    (file,) = write_dicom(tmp_path, [PIXELS])
    with open_slide(file) as slide:
        os.truncate(file, 20_000)
        with pytest.raises(SlideReadError, match=r"ends .* bytes early"):
            slide.read_level(0, LAST)
        assert slide.read_level(0, Region(0, 0, 50, 50)).any()
    with pytest.raises(SlideReadError, match="was closed"):
        slide.reader.backend.read(0, LAST)


def test_a_drive_that_fails_is_no_damage(tmp_path: Path, write_dicom, monkeypatch):
    def fail(*_: int) -> bytes:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    (file,) = write_dicom(tmp_path, [PIXELS])
    with open_slide(file) as slide:
        monkeypatch.setattr(SharedFile, "_at", fail)
        with pytest.raises(SlideStalledError, match=r"not connected.*disk or network"):
            slide.read_level(0, LAST)
