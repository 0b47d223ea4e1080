"""DICOM slides: what OpenSlide says and shows, from frames that are decoded one by one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from skimage.data import astronaut

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import Slide, open_slide
from napari_hmkd.slide.backends.dicom_backend import DicomBackend
from napari_hmkd.slide.description import describe
from napari_hmkd.slide.fingerprint import fingerprint

JFIF = b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
STORED = {
    "JPEG, YCbCr": {},
    "JPEG, RGB": {"photometric": "RGB"},
    "JPEG, RGB under a JFIF header": {"photometric": "RGB", "marks": JFIF},
    "JPEG, RGB that says to be YCbCr": {"photometric": "RGB", "marks": ADOBE + b"\1"},
    "JPEG, YCbCr that says to be RGB": {"marks": JFIF + ADOBE + b"\0"},
    "uncompressed": {"coding": "plain", "photometric": "RGB"},
    "JPEG 2000": {"coding": "jpeg 2000", "photometric": "YBR_ICT"},
    "JPEG 2000, lossless": {"coding": "jpeg 2000, lossless", "photometric": "RGB"},
    "JPEG 2000, YBR_RCT": {"coding": "jpeg 2000, lossless", "photometric": "YBR_RCT"},
}
TABLES = {
    "no table": {"table": "none"},
    "extended table": {"table": "extended"},
    "several fragments": {"fragments": 3},
    "sparse": {"organization": "TILED_SPARSE", "left_out": (1, 8)},
    "sparse, told in undefined length": {
        "organization": "TILED_SPARSE", "left_out": (0,), "undefined_length": True, "table": "none",
    },
}  # fmt: skip


def pyramid(height: int = 300, width: int = 260) -> list[np.ndarray]:
    """Levels whose right and lower edges cut frames of 64 px."""
    pixels = astronaut()[:height, :width]
    return [pixels, pixels[::2, ::2], pixels[::4, ::4]]


def whole(slide: Slide, level: int = 0) -> np.ndarray:
    size = slide.levels[level].size
    return slide.read_level(level, Region(-3, -5, size.height + 10, size.width + 10))


@pytest.mark.parametrize("more", [*STORED.values(), *TABLES.values()], ids=[*STORED, *TABLES])
def test_pixels_are_those_of_openslide(tmp_path: Path, write_dicom, more: dict[str, Any]):
    """To the last bit: both have libjpeg-turbo enlarge halved colours smoothly."""
    files = write_dicom(tmp_path, pyramid(), **more)
    with open_slide(files[0]) as first, open_slide(files[0], backend="openslide") as second:
        assert (first.backend, second.backend) == ("pydicom", "openslide")
        for level in range(3):
            assert np.array_equal(whole(first, level), whole(second, level))
        shown = first.read_level(0, Region(65, 65, 120, 120)).astype(int)
    assert np.abs(shown - pyramid()[0][65:185, 65:185]).mean() < 8


def test_frames_in_several_fragments_need_no_table(tmp_path: Path, write_dicom):
    """OpenSlide cannot read them; with a table, it can."""
    pixels = []
    for table in ("basic", "none"):
        (tmp_path / table).mkdir()
        files = write_dicom(tmp_path / table, pyramid(), fragments=3, table=table)
        with open_slide(files[0]) as slide:
            assert slide.backend == "pydicom"
            pixels.append(whole(slide))
    assert np.array_equal(*pixels)


def test_a_fragment_of_jpeg_2000_that_begins_like_a_frame_is_none(
    tmp_path: Path, noise, write_dicom
):
    pixels = noise(301, 517)
    coding = {"coding": "jpeg 2000, lossless", "photometric": "YBR_RCT"}
    (file,) = write_dicom(tmp_path, [pixels], tile=16, table="none", fragments=3, **coding)
    data = file.read_bytes()
    items = [
        one.end() for one in re.finditer(rb"\xfe\xff\x00\xe0.{4}(?=\xff\x4f)", data, re.DOTALL)
    ]
    assert any(data[at : at + 4] != b"\xff\x4f\xff\x51" for at in items), "the noise has such a one"
    with open_slide(file, backend="pydicom") as slide:
        whole = Region(0, 0, *pixels.shape[:2])
        np.testing.assert_array_equal(slide.read_level(0, whole), pixels)


def test_frames_that_are_not_there_are_blank(tmp_path: Path, write_dicom):
    files = write_dicom(tmp_path, pyramid(), organization="TILED_SPARSE", left_out=(0, 6))
    with open_slide(files[0]) as slide:
        for y, x in ((0, 0), (64, 64)):
            assert (slide.read_level(0, Region(y, x, 64, 64)) == 255).all()
        assert slide.read_level(0, Region(0, 64, 64, 64)).max() < 255


def test_all_else_is_as_openslide_says(tmp_path: Path, write_dicom):
    files = write_dicom(tmp_path, pyramid(), label=np.zeros((50, 60, 3), np.uint8))
    with open_slide(files[1]) as first, open_slide(files[1], backend="openslide") as second:
        _assert_same_facts(first, second)
        assert [level.downsample for level in first.levels] == [1.0, 2.0, 4.0]
        assert first.mpp == pytest.approx((0.5, 0.5))
        assert first.mpp_source == "DICOM PixelSpacing"
        facts = describe(first)
        assert (facts["objective"], facts["scan date"]) == ("20x", "20240131120000")
        assert facts["back end"] == "pydicom: a DICOM slide whose tiles pydicom decodes"


def test_the_real_slide_is_the_same(shared_data: Path):
    path = shared_data / "slides/cmu-1-small-region-dicom"
    with open_slide(path) as first, open_slide(path, backend="openslide") as second:
        _assert_same_facts(first, second)
        assert "converted to sRGB" in first.colour or "sRGB" in first.colour
        assert np.array_equal(whole(first), whole(second))


def _assert_same_facts(first: Slide, second: Slide) -> None:
    assert (first.backend, second.backend) == ("pydicom", "openslide")
    for name in ("vendor", "mpp", "mpp_source", "properties", "colour", "warnings", "origin_px"):
        assert getattr(first, name) == getattr(second, name), name
    shapes = [[(s.size, s.downsample, s.tile) for s in slide.levels] for slide in (first, second)]
    assert shapes[0] == shapes[1]
    assert first.reader.backend.icc_profile == second.reader.backend.icc_profile
    assert fingerprint(first) == fingerprint(second)


@pytest.mark.parametrize("given", ["folder", "0.dcm", "2.dcm", "label.dcm"])
def test_the_folder_and_each_of_its_files_are_the_slide(tmp_path: Path, write_dicom, given: str):
    write_dicom(tmp_path, pyramid(), label=np.zeros((50, 60, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("no slide", encoding="utf-8")
    with open_slide(tmp_path if given == "folder" else tmp_path / given) as slide:
        assert (slide.backend, slide.size) == ("pydicom", Size(300, 260))
        assert len(slide.levels) == 3


def test_a_label_is_never_read(tmp_path: Path, write_dicom, monkeypatch: pytest.MonkeyPatch):
    """Not even one of the size of a level."""
    colour = np.array([7, 77, 177], np.uint8)
    label = np.broadcast_to(colour, (64, 64, 3))
    files = write_dicom(tmp_path, [astronaut()[:128, :128], astronaut()[:64, :64]], label=label)
    with open_slide(files[-1]) as slide:
        assert [level.size for level in slide.levels] == [Size(128, 128), Size(64, 64)]
        for level in range(2):
            near = np.abs(whole(slide, level).astype(int) - colour).max(axis=-1) < 8
            assert not near.any()
        files_held = {Path(one).name for one in slide.reader.backend._tiles._files}
    assert files_held == {"0.dcm", "1.dcm"}


@pytest.mark.parametrize(
    "odd", [{"DimensionOrganizationType": "TILED_SPARSE"}, {"Rows": 65535, "Columns": 65535}]
)
def test_what_is_odd_about_a_label_does_not_matter(tmp_path: Path, write_dicom, odd) -> None:
    files = write_dicom(tmp_path, pyramid(), label=np.zeros((50, 60, 3), np.uint8))
    change(files[-1], **odd)
    with open_slide(files[0]) as slide:
        assert (slide.backend, len(slide.levels)) == ("pydicom", 3)


def change(file: Path, **values: object) -> None:
    """Set elements of a file; None removes one."""
    data = pydicom.dcmread(file)
    for keyword, value in values.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    data.save_as(file)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ({"NumberOfOpticalPaths": 2}, "several focal planes or optical paths"),
        ({"DimensionOrganizationType": None}, "laid out as ''"),
    ],
)
def test_what_looks_off_is_left_to_openslide(tmp_path: Path, write_dicom, spoil, why: str):
    files = write_dicom(tmp_path, pyramid())
    change(files[0], **spoil)
    with open_slide(files[0]) as slide:
        assert slide.backend == "openslide"
        assert slide.backend_reason.startswith("a DICOM slide that pydicom cannot read (it")
        assert why in slide.backend_reason
    with pytest.raises(
        SlideError, match=f"(?s)pydicom, which was asked for: .*{why}.*openslide op"
    ):
        open_slide(files[0], backend="pydicom")


def test_a_level_that_is_there_twice_is_left_to_openslide(tmp_path: Path, write_dicom):
    files = write_dicom(tmp_path, pyramid())
    (tmp_path / "copy.dcm").write_bytes(files[0].read_bytes())
    with open_slide(files[0]) as slide:
        assert slide.backend == "openslide"
        assert "300 x 260 px lies in 2 files" in slide.backend_reason


def test_an_image_in_several_files_is_left_to_openslide(tmp_path: Path, write_dicom):
    pixels = astronaut()[:256, :256]
    (file,) = write_dicom(tmp_path, [pixels])
    data = pydicom.dcmread(file)
    frames = list(generate_frames(data.PixelData, number_of_frames=16))
    for number, part in enumerate((slice(0, 10), slice(10, 16))):
        (tmp_path / f"{number}.dcm").write_bytes(file.read_bytes())
        change(
            tmp_path / f"{number}.dcm", PixelData=encapsulate(frames[part]), SOPInstanceUID=f"1.2.9.{number}",
            ConcatenationUID="1.2.10", SOPInstanceUIDOfConcatenationSource="1.2.9",
            InConcatenationNumber=number + 1, InConcatenationTotalNumber=2,
            ConcatenationFrameOffsetNumber=part.start, NumberOfFrames=len(frames[part]),
        )  # fmt: skip
    with open_slide(tmp_path) as slide:
        assert slide.backend == "openslide"
        assert "lies in 2 files" in slide.backend_reason
        shown = slide.read_level(0, Region(0, 0, 256, 256)).astype(int)
    assert np.abs(shown - pixels).mean() < 8


@pytest.mark.parametrize("at", [1, 64_001])
def test_frames_at_one_place_or_outside_are_left_to_openslide(tmp_path, write_dicom, at: int):
    files = write_dicom(tmp_path, pyramid(), organization="TILED_SPARSE", left_out=(1,))
    places = pydicom.dcmread(files[0]).PerFrameFunctionalGroupsSequence
    first = places[-1].PlanePositionSlideSequence[0]
    second = places[-2].PlanePositionSlideSequence[0]
    second.RowPositionInTotalImagePixelMatrix = at
    second.ColumnPositionInTotalImagePixelMatrix = first.ColumnPositionInTotalImagePixelMatrix
    change(files[0], PerFrameFunctionalGroupsSequence=places)
    with open_slide(files[0]) as slide:
        assert slide.backend == "openslide"
        assert "in no grid" in slide.backend_reason


@pytest.mark.parametrize(("row", "column"), [(33, 65), (1, 97)])
def test_frames_off_the_grid_are_refused(tmp_path, write_dicom, row: int, column: int):
    (file,) = write_dicom(tmp_path, pyramid()[:1], organization="TILED_SPARSE", left_out=(1,))
    places = pydicom.dcmread(file).PerFrameFunctionalGroupsSequence
    off = places[-2].PlanePositionSlideSequence[0]  # over the place that no frame has
    off.RowPositionInTotalImagePixelMatrix = row
    off.ColumnPositionInTotalImagePixelMatrix = column
    change(file, PerFrameFunctionalGroupsSequence=places)
    with pytest.raises(SlideError, match="in no grid"):
        open_slide(file)


@pytest.mark.parametrize(
    ("coding", "organization"),
    [("plain", "TILED_FULL"), ("plain", "TILED_SPARSE"), ("jpeg-ls", "TILED_FULL")],
)
def test_frames_need_not_be_square(tmp_path, write_dicom, coding: str, organization: str):
    pixels = pyramid()[0]
    stored = {"coding": coding, "photometric": "RGB", "organization": organization}
    (file,) = write_dicom(tmp_path, [pixels], tile_width=32, **stored)
    with open_slide(file) as slide:
        assert (slide.backend, slide.levels[0].tile) == ("pydicom", Size(64, 32))
        whole = Region(0, 0, *pixels.shape[:2])
        assert np.array_equal(slide.read_level(0, whole), pixels)


def test_what_openslide_refuses_is_refused_in_its_words(tmp_path: Path, write_dicom):
    files = write_dicom(tmp_path, pyramid())
    change(files[0], HighBit=6)
    with pytest.raises(SlideError, match="HighBit value 6 != 7"):
        open_slide(files[0])


def test_a_header_in_another_coding_is_named(tmp_path: Path, write_dicom):
    (file,) = write_dicom(tmp_path, pyramid()[:1], coding="plain", photometric="RGB")
    assert file.read_bytes().count(b"1.2.840.10008.1.2.1\0") == 1
    file.write_bytes(file.read_bytes().replace(b"10008.1.2.1\0", b"10008.1.2.2\0"))
    with pytest.raises(SlideError, match=r"syntax Explicit VR Big Endian\. Nor can OpenSlide"):
        open_slide(file)


def test_frames_without_a_table_are_looked_for_once_and_not_before_they_are_read(
    tmp_path: Path, write_dicom, monkeypatch: pytest.MonkeyPatch
):
    from napari_hmkd.slide.backends import dicom_frames

    searched, search = [], dicom_frames._search
    monkeypatch.setattr(dicom_frames, "_search", lambda *what: searched.append(1) or search(*what))
    files = write_dicom(tmp_path, [astronaut()], table="none")
    with open_slide(files[0]) as slide:
        assert not searched
        for _ in range(2):
            whole(slide)
        assert len(searched) == 1


def test_files_of_other_slides_do_not_matter(tmp_path: Path, write_dicom):
    files = write_dicom(tmp_path, pyramid())
    for name, series in (("other.dcm", "1.2.4"), ("broken.dcm", "1.2.3")):
        (tmp_path / name).write_bytes(files[0].read_bytes())
        change(tmp_path / name, SeriesInstanceUID=series)
    (tmp_path / "broken.dcm").write_bytes((tmp_path / "broken.dcm").read_bytes()[:300])
    with open_slide(files[0]) as slide:
        assert (slide.backend, len(slide.levels)) == ("pydicom", 3)
        assert isinstance(slide.reader.backend, DicomBackend)
