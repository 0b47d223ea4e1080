"""TIFFs that keep the header of the file they were made from: all levels, and the header's pixel size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_hmkd.geometry import Region
from napari_hmkd.slide import Slide, open_slide

TILED: dict[str, Any] = {
    "photometric": "rgb",
    "tile": (64, 64),
    "compression": "zlib",
    "metadata": None,
}
APERIO = "Aperio Image Library v11.2.1 \r\n320x256 [0,0 320x256] (256x256) JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990"
IMAGEJ = "ImageJ=1.11a\nimages=1\nhyperstack=true\nmode=grayscale\nunit=um\n"
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="320" SizeY="256" SizeC="3" SizeZ="1" '
    'SizeT="1" PhysicalSizeX="0.5" PhysicalSizeY="0.5"><Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
    '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
)

PHILIPS = (
    '<?xml version="1.0"?><DataObject ObjectType="DPUfsImport"><Attribute Name="PIM_DP_IMAGE_TYPE" '
    'PMSVR="IString">LABELIMAGE</Attribute></DataObject>'
)


def levels_of(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels[::step, ::step] for step in (1, 2, 4, 8)]


def assert_levels(slide: Slide, levels: list[np.ndarray]) -> None:
    assert [level.downsample for level in slide.levels] == [1.0, 2.0, 4.0, 8.0]
    assert slide.warnings == ()
    for number, level in enumerate(levels):
        whole = Region(0, 0, *level.shape[:2])
        np.testing.assert_array_equal(slide.read_level(number, whole), level)


@pytest.mark.parametrize(
    "copied",
    [
        '{"shape": [256, 320, 3]}',
        '{"shape": [512, 640, 3]}',
        '{"shape": [999, 640, 3], "axes": "YXS"}',
        '{"internal": {"xml": {"shape": [256, 320, 3]}}, "metadata": {}}',
        '{"shape": "large"}',
        '{"shape": [256, 320, 3]',
    ],
)
@pytest.mark.parametrize("repeated", [False, True])
def test_a_header_of_tifffile_that_was_copied_hides_no_level(
    tmp_path: Path, noise, copied: str, repeated: bool
):
    levels = levels_of(noise(256, 320))
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for number, level in enumerate(levels):
            told = copied if repeated or not number else None
            tiff.write(level, subfiletype=int(number > 0), description=told, **TILED)
    with open_slide(tmp_path / "a.tif") as slide:
        assert_levels(slide, levels)


@pytest.mark.parametrize(
    ("copied", "mpp"),
    [(APERIO, 0.499), (IMAGEJ, 1.0), (OME, 0.5), (PHILIPS, None)],
    ids=["Aperio", "ImageJ", "OME", "Philips"],
)
@pytest.mark.parametrize("layout", ["on each page", "on the first page", "with pages below"])
def test_another_programs_header_that_was_copied_hides_no_level(
    tmp_path: Path, noise, copied: str, mpp: float | None, layout: str
):
    levels = levels_of(noise(256, 320))
    below = {"subifds": 3} if layout == "with pages below" else {}
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(levels[0], description=copied, **below, **TILED)
        for level in levels[1:]:
            told = copied if layout == "on each page" else None
            tiff.write(level, subfiletype=1, description=told, **TILED)
    with open_slide(tmp_path / "a.tif") as slide:
        assert_levels(slide, levels)
        assert slide.mpp == (mpp and pytest.approx((mpp, mpp)))


@pytest.mark.parametrize(
    ("sizes", "doubted"),
    [
        ("320x256 [0,0 320x256] (256x256)", False),
        ("4600x3291 [42,55 320x256] (256x256)", False),
        ("(64x64)", False),
        ("640x512 [0,0 640x512] (320x256)", True),
    ],
)
def test_an_aperio_header_of_another_size_is_doubted(
    tmp_path: Path, noise, sizes: str, doubted: bool
):
    told = f"Aperio Image Library v11.2.1 \r\n{sizes} JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990"
    tifffile.imwrite(tmp_path / "a.svs", noise(256, 320), description=told, **TILED)
    with open_slide(tmp_path / "a.svs") as slide:
        assert any("of an image of another size" in one for one in slide.warnings) == doubted


@pytest.mark.parametrize(
    ("unit", "density", "mpp"), [("CENTIMETER", 20_000, 0.5), ("CENTIMETER", 5, None)]
)
def test_tags_with_a_unit_are_not_read_in_the_unit_of_a_copied_imagej_header(
    tmp_path: Path, noise, unit: str, density: int, mpp: float | None
):
    tifffile.imwrite(
        tmp_path / "a.tif", noise(256, 320), description=IMAGEJ, resolution=(density, density),
        resolutionunit=unit, **TILED,
    )  # fmt: skip
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == (mpp and pytest.approx((mpp, mpp)))


def test_colours_in_pages_of_their_own_stay_colours_though_reduced_pages_follow(
    tmp_path: Path, noise
):
    pixels = noise(256, 320)
    channels = "".join(f'<Channel ID="Channel:0:{c}" SamplesPerPixel="1"/>' for c in range(3))
    told = "".join(f'<TiffData IFD="{c}" FirstC="{2 - c}" PlaneCount="1"/>' for c in range(3))
    header = OME.replace('<Channel ID="Channel:0:0" SamplesPerPixel="3"/>', channels)
    header = header.replace('<TiffData IFD="0" PlaneCount="1"/>', told)
    layout = TILED | {"photometric": "minisblack"}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        for step in (1, 2):
            for channel in (2, 1, 0):
                tiff.write(
                    pixels[::step, ::step, channel], subfiletype=int(step > 1),
                    description=header if (step, channel) == (1, 2) else None, **layout,
                )  # fmt: skip
    with open_slide(tmp_path / "a.ome.tif") as slide:
        np.testing.assert_array_equal(slide.read_level(0, Region(0, 0, 256, 320)), pixels)


@pytest.mark.parametrize("levels", [1, 2])
def test_an_image_that_the_header_tells_of_is_no_level(tmp_path: Path, levels: int):
    """Though it says to be reduced, has the slide's proportions and no words of its own."""
    rng = np.random.default_rng(0)
    pixels, label = (rng.integers(0, 255, (side, side, 3), np.uint8) for side in (512, 128))
    layout = {name: TILED[name] for name in ("photometric", "tile", "compression")}
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        named = {"axes": "YXS", "Name": "slide"}
        file.write(pixels, subifds=levels - 1 or None, metadata=named, **layout)
        if levels > 1:
            file.write(pixels[::2, ::2], subfiletype=1, **layout)
        named = {"axes": "YXS", "Name": "label image"}
        file.write(label, metadata=named, subfiletype=1, **layout)
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.levels] == [1.0, 2.0][:levels]
