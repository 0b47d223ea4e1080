"""What a TIFF says about itself: pixel sizes, and the files that it consists of."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region
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
        ({296: struct.pack("<HI4s", 2, 3, b"cm\0\0")}, None),
        ({282: struct.pack("<HI4s", 2, 4, b"big\0"), 283: struct.pack("<HI4s", 2, 1, b"")}, None),
    ],
    ids=["numbers", "not-a-number", "negative", "unit-as-text", "text"],
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


def test_files_that_an_ome_tiff_names_must_be_there(tmp_path: Path, noise):
    pixels = noise(90, 80)
    write_channel_files(tmp_path, pixels)
    with open_slide(tmp_path / "m0.ome.tif") as slide:
        assert np.array_equal(slide.read_level(0, Region(0, 0, 90, 80)), pixels)
    (tmp_path / "m2.ome.tif").unlink()
    for name in ("m0.ome.tif", "m1.ome.tif"):
        with pytest.raises(SlideError, match=rf"{name}' is a part .*: m2\.ome\.tif\. Put"):
            open_slide(tmp_path / name)


def write_channel_files(folder: Path, pixels: np.ndarray) -> None:
    """An OME-TIFF whose three channels lie in a file each."""
    uuids = [f"urn:uuid:0000000{channel}-0000-0000-0000-000000000000" for channel in range(3)]
    channels = "".join(f'<Channel ID="Channel:0:{c}" SamplesPerPixel="1"/>' for c in range(3))
    data = "".join(
        f'<TiffData FirstC="{channel}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="m{channel}.ome.tif">{uuid}</UUID></TiffData>'
        for channel, uuid in enumerate(uuids)
    )
    height, width, _ = pixels.shape
    for channel, uuid in enumerate(uuids):
        header = (
            f'<?xml version="1.0"?><OME UUID="{uuid}" '
            'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeC="3" SizeZ="1" '
            f'SizeT="1" SizeX="{width}" SizeY="{height}">{channels}{data}</Pixels></Image></OME>'
        )
        tifffile.imwrite(
            folder / f"m{channel}.ome.tif", pixels[..., channel], description=header,
            metadata=None, photometric="minisblack",
        )  # fmt: skip
