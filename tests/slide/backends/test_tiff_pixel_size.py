"""Which pixel size a TIFF states: its headers and tags, and the right image of several."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import tifffile

from napari_hmkd.slide import open_slide


@pytest.mark.parametrize(
    ("unit", "stated", "um"),
    [("µm", 0.5, 0.5), ("nm", 500, 0.5), ("mm", 0.0005, 0.5), ("cm", 0.00005, 0.5)],
)
def test_ome_pixel_sizes_in_any_unit(tmp_path: Path, noise, unit: str, stated: float, um: float):
    metadata = {
        "axes": "YXS",
        **{f"PhysicalSize{axis}": stated for axis in "XY"},
        **{f"PhysicalSize{axis}Unit": unit for axis in "XY"},
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(64, 64), photometric="rgb", metadata=metadata)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert slide.mpp == pytest.approx((um, um))
        assert slide.mpp_source == "OME PhysicalSizeX"


@pytest.mark.parametrize(
    ("unit", "resolution", "mpp"),
    [
        ("CENTIMETER", (20_000, 20_000), (0.5, 0.5)),
        ("CENTIMETER", (20_000, 10_000), (1.0, 0.5)),
        ("INCH", (50_800, 50_800), (0.5, 0.5)),
        ("INCH", (72, 72), None),
        ("INCH", (300, 300), None),
        ("NONE", (20_000, 20_000), None),
    ],
)
def test_resolution_tags(tmp_path: Path, noise, unit: str, resolution, mpp):
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise(64, 64),
        photometric="rgb",
        resolution=resolution,
        resolutionunit=unit,
    )
    with open_slide(tmp_path / "a.tif") as slide:
        if mpp is None:
            assert slide.mpp is None
        else:
            assert slide.mpp == pytest.approx(mpp)
            assert slide.mpp_source == "TIFF resolution"


def patch_tag(path: Path, code: int, entry: bytes) -> None:
    """Give a tag of the first page another type and value."""
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags[code].offset
    with path.open("r+b") as file:
        file.seek(place + 2)
        file.write(entry)


@pytest.mark.parametrize(
    ("patches", "mpp"),
    [
        ({code: struct.pack("<HIf", 11, 1, 20_000.0) for code in (282, 283)}, (0.5, 0.5)),
        ({code: struct.pack("<HIf", 11, 1, float("nan")) for code in (282, 283)}, None),
        ({282: struct.pack("<HIf", 11, 1, -1.0)}, (0.5, 0.5)),  # one side speaks for both
        ({code: struct.pack("<HIHH", 3, 2, 1, 0) for code in (282, 283)}, None),
        ({296: struct.pack("<HI4s", 2, 3, b"cm\0\0")}, None),
        ({282: struct.pack("<HI4s", 2, 4, b"big\0"), 283: struct.pack("<HI4s", 2, 1, b"")}, None),
    ],
    ids=["numbers", "not-a-number", "negative", "over-zero", "unit-as-text", "text"],
)
def test_odd_resolution_tags_keep_no_slide_from_opening(tmp_path: Path, noise, patches, mpp):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, noise(64, 64), photometric="rgb", resolution=(20_000, 20_000), resolutionunit=3
    )
    for code, entry in patches.items():
        patch_tag(path, code, entry)
    with open_slide(path) as slide:
        assert slide.mpp == (mpp and pytest.approx(mpp))


ELSEWHERE = (
    '<TiffData IFD="0" PlaneCount="1"><UUID FileName="other.ome.tif">urn:uuid:2</UUID></TiffData>'
)
HERE = '<TiffData IFD="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'


def image(side: int, mpp: float, data: str) -> str:
    """An image of an OME header."""
    return (
        '<Image><Pixels DimensionOrder="XYCZT" Type="uint8" SizeC="3" SizeZ="1" SizeT="1" '
        f'SizeX="{side}" SizeY="{side}" PhysicalSizeX="{mpp}" PhysicalSizeY="{mpp}">'
        f'<Channel SamplesPerPixel="3"/>{data}</Pixels></Image>'
    )


def header(*images: str) -> str:
    """An OME header of a file that calls itself urn:uuid:1."""
    space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return f'<?xml version="1.0"?><OME xmlns="{space}" UUID="urn:uuid:1">{"".join(images)}</OME>'


@pytest.mark.parametrize(
    ("images", "mpp"),
    [
        ([image(99, 4.0, "<MetadataOnly/>"), image(64, 0.25, '<TiffData IFD="0"/>')], 0.25),
        ([image(64, 4.0, "<MetadataOnly/>"), image(64, 0.25, '<TiffData IFD="0"/>')], 0.25),
        ([image(64, 4.0, '<TiffData IFD="1"/>'), image(64, 0.25, '<TiffData IFD="0"/>')], 0.25),
        ([image(99, 4.0, ELSEWHERE), image(64, 0.25, HERE)], 0.25),
        ([image(64, 4.0, ELSEWHERE), image(64, 0.25, HERE)], 0.25),
        ([image(64, 4.0, ELSEWHERE), image(64, 0.25, ELSEWHERE)], None),
        ([image(64, 0.25, ELSEWHERE), image(64, 0.25, ELSEWHERE)], 0.25),
        ([image(99, 4.0, ELSEWHERE), image(98, 0.25, ELSEWHERE)], None),
    ],
    ids=[
        "no-data-of-another-size", "no-data-of-the-same-size", "another-page", "another-file",
        "another-file-of-the-same-size", "neither-is-sure", "both-say-the-same", "neither-fits",
    ],
)  # fmt: skip
def test_an_ome_size_is_that_of_the_image_that_is_shown(tmp_path, noise, images, mpp):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, noise(64, 64), photometric="rgb", description=header(*images), metadata=None
    )
    with open_slide(path) as slide:
        assert slide.mpp == (mpp and (mpp, mpp))


def test_a_renamed_ome_tiff_keeps_its_pixel_size(tmp_path: Path, noise):
    text = header(image(64, 4.0, ELSEWHERE), image(64, 0.25, HERE))
    tifffile.imwrite(
        tmp_path / "renamed.tif", noise(64, 64), photometric="rgb", description=text, metadata=None
    )
    with open_slide(tmp_path / "renamed.tif") as slide:
        assert slide.mpp == (0.25, 0.25)


def test_of_several_scenes_the_size_is_the_largest_one_s(tmp_path: Path, noise):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        for side, mpp in ((64, 4.0), (128, 0.25), (100, 1.0)):
            metadata = {"axes": "YXS", "PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            tiff.write(noise(side, side), photometric="rgb", metadata=metadata)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert (slide.size.height, slide.mpp) == (128, (0.25, 0.25))


@pytest.mark.parametrize(
    ("unit", "density", "mpp"),
    [
        ("um", (2, 2), (0.5, 0.5)),
        ("micron", (4, 2), (0.5, 0.25)),
        ("Micrometers", (2, 2), (0.5, 0.5)),
        (r"\u00B5m", (2, 2), (0.5, 0.5)),
        ("nm", (0.002, 0.002), (0.5, 0.5)),
        ("pixel", (2, 2), None),
    ],
)
def test_imagej_counts_pixels_per_a_unit_of_its_own(tmp_path: Path, noise, unit, density, mpp):
    tifffile.imwrite(
        tmp_path / "a.tif", noise(64, 64), imagej=True, resolution=density,
        metadata={"unit": unit, "axes": "YXS"},
    )  # fmt: skip
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == (mpp and pytest.approx(mpp))
        assert slide.mpp_source == (mpp and "ImageJ's unit")
