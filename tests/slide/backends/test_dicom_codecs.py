"""DICOM slides in codings that OpenSlide does not know: their headers alone tell what they are."""

from __future__ import annotations

import re
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import ImageCms
from skimage.data import astronaut

from napari_hmkd.errors import SlideError, SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.backends.dicom_rle import decode_rle
from napari_hmkd.slide.description import describe
from napari_hmkd.slide.loading.cache import TileCache

PIXELS = astronaut()[:300, :260]
LEVELS = [PIXELS, PIXELS[::2, ::2], PIXELS[::4, ::4]]
needs_htj2k = pytest.mark.skipif(
    not hasattr(imagecodecs, "htj2k_encode"), reason="this imagecodecs writes no HTJ2K"
)
CODINGS = [
    pytest.param("htj2k", "YBR_RCT", marks=needs_htj2k),
    ("jpeg, lossless", "RGB"),
    ("jpeg, lossless, first order", "RGB"),
    ("jpeg-ls", "RGB"),
    ("jpeg xl", "RGB"),
    ("rle", "RGB"),
]
SEEN_BEFORE = ("htj2k", "jpeg-ls")
"""Of these damage is seen before the codec works on it, for seconds at times."""

LAYOUTS = [
    {},
    {"organization": "TILED_SPARSE", "table": "none"},
    {"organization": "TILED_SPARSE", "undefined_length": True},
]


@pytest.mark.parametrize(("coding", "photometric"), [*CODINGS, ("plain, implicit", "RGB")])
@pytest.mark.parametrize("more", LAYOUTS)
def test_pixels_are_those_that_were_written(
    tmp_path: Path, write_dicom, coding: str, photometric: str, more
):
    write_dicom(tmp_path, LEVELS, coding=coding, photometric=photometric, **more)
    with open_slide(tmp_path) as slide:
        assert slide.backend == "pydicom"
        assert [level.downsample for level in slide.levels] == [1.0, 2.0, 4.0]
        for number, pixels in enumerate(LEVELS):
            whole = Region(0, 0, *pixels.shape[:2])
            np.testing.assert_array_equal(slide.read_level(number, whole), pixels)


def test_jpeg_whose_colours_are_said_to_be_whole_is_the_same_picture(tmp_path: Path, write_dicom):
    """YBR_FULL says no more than YBR_FULL_422; OpenSlide knows the second alone."""
    shown = []
    for photometric in ("YBR_FULL_422", "YBR_FULL"):
        (file,) = write_dicom(tmp_path, [PIXELS])
        data = pydicom.dcmread(file)
        data.PhotometricInterpretation = photometric
        data.save_as(file)
        with open_slide(file, cache=TileCache(0)) as slide:
            assert slide.backend == "pydicom"
            shown.append(slide.read_level(0, Region(0, 0, 300, 260)).copy())
    np.testing.assert_array_equal(*shown)


def test_what_is_told_is_what_openslide_tells_of_the_same_slide(tmp_path: Path, write_dicom):
    told = []
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for coding in ("rle", "plain, implicit", "plain"):
        folder = tmp_path / coding
        folder.mkdir()
        files = write_dicom(
            folder, LEVELS, label=PIXELS[:50, :60], coding=coding, photometric="RGB"
        )
        change(files[0], profile)
        with open_slide(files[1]) as slide:
            facts = describe(slide)
            names = (
                "format",
                "dimensions",
                "levels",
                "tiles",
                "pixel size",
                "objective",
                "scan date",
            )
            told.append([facts[name] for name in (*names, "colours", "begins at", "warnings")])
            assert slide.reader.backend.icc_profile == profile
            assert "PatientName" not in " ".join(slide.properties) or coding == "plain"
    assert told[0] == told[1] == told[2]
    assert "20x" in told[0]


def change(file: Path, profile: bytes) -> None:
    data = pydicom.dcmread(file)
    data.PatientName = "Doe^Jane"
    data.OpticalPathSequence[0].ICCProfile = profile
    data.save_as(file)


@pytest.mark.parametrize(("coding", "photometric"), CODINGS)
def test_a_frame_that_breaks_off_is_damage_of_its_own(
    tmp_path: Path, write_dicom, coding: str, photometric: str
):
    (file,) = write_dicom(tmp_path, [PIXELS], coding=coding, photometric=photometric)
    stored = file.read_bytes()
    items = [one.start() for one in re.finditer(rb"\xfe\xff\0\xe0", stored)][-25:]
    damaged, after = items[6] + 8, items[7]
    half = (damaged + after) // 2
    file.write_bytes(stored[:half] + bytes(after - half) + stored[after:])
    with open_slide(file) as slide:
        with pytest.raises(SlideReadError, match="level 0, tile 6 cannot be read") as damage:
            slide.read_level(0, Region(64, 64, 64, 64))
        if coding in SEEN_BEFORE:
            assert "its JPEG data break off" in str(damage.value)
        np.testing.assert_array_equal(
            slide.read_level(0, Region(64, 0, 64, 64)), PIXELS[64:128, :64]
        )


def test_a_coding_that_nothing_here_reads_is_named(tmp_path: Path, write_dicom):
    (file,) = write_dicom(tmp_path, [PIXELS])
    data = pydicom.dcmread(file)
    data.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    data.save_as(file)
    with pytest.raises(SlideError, match="stored as YBR_FULL_422 in MPEG2 Main Profile"):
        open_slide(file)


@pytest.mark.parametrize("coding", ["plain", "plain, implicit"])
def test_colours_in_planes_of_their_own_are_refused(tmp_path: Path, write_dicom, coding: str):
    (file,) = write_dicom(tmp_path, [PIXELS], coding=coding, photometric="RGB")
    data = pydicom.dcmread(file)
    data.PlanarConfiguration = 1
    data.save_as(file)
    with pytest.raises(SlideError, match="its colours are stored plane by plane"):
        open_slide(file)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}, "have 16 bits per channel"),
        ({"BitsStored": 7, "HighBit": 6}, "have 7 bits per channel"),
        ({"PixelRepresentation": 1}, "are signed numbers"),
        (
            {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"},
            r"a grey image \(MONOCHROME2\)",
        ),
    ],
)
@pytest.mark.parametrize("coding", ["plain", "plain, implicit"])
def test_what_is_no_8_bit_colour_is_refused_in_words(
    tmp_path: Path, write_dicom, coding: str, values, why: str
):
    (file,) = write_dicom(tmp_path, [PIXELS], coding=coding, photometric="RGB")
    data = pydicom.dcmread(file)
    for name, value in values.items():
        setattr(data, name, value)
    data.save_as(file)
    with pytest.raises(SlideError, match=why) as refusal:
        open_slide(file)
    assert "Copy it again" not in str(refusal.value)


@pytest.mark.parametrize(("start", "value"), [(0, 4), (4, 2**31), (4, 0), (8, 40), (12, 2**32 - 1)])
def test_a_damaged_header_of_rle_ends_no_process(start: int, value: int):
    """imagecodecs' own decoder can."""
    planes = [imagecodecs.packbits_encode(bytes([shade] * 16)) for shade in (7, 8, 9)]
    edges = np.cumsum([64, *map(len, planes)])
    header = np.array([3, *edges[:3], *[0] * 12], "<u4").tobytes()
    frame = header + b"".join(planes)
    assert (decode_rle(frame, Size(4, 4)) == (7, 8, 9)).all()
    changed = frame[:start] + np.array([value], "<u4").tobytes() + frame[start + 4 :]
    with pytest.raises(ValueError, match="RLE data"):
        decode_rle(changed, Size(4, 4))


@pytest.mark.parametrize("length", [0, 20, 64, 66])
def test_rle_that_breaks_off_is_damage(length: int):
    plane = imagecodecs.packbits_encode(bytes(range(16)))
    starts = [64 + number * len(plane) for number in range(3)]
    frame = np.array([3, *starts, *[0] * 12], "<u4").tobytes() + plane * 3
    with pytest.raises(ValueError, match="RLE data"):
        decode_rle(frame[:length], Size(4, 4))
