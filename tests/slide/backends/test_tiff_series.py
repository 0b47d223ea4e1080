"""TIFFs that are no slides that can be graded, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide


@pytest.mark.parametrize(
    ("shape", "dtype", "photometric", "reason"),
    [
        ((64, 64), np.uint8, "minisblack", "grey"),
        ((64, 64, 3), np.uint16, "rgb", "uint16"),
        ((64, 64, 3), np.float32, "rgb", "float32"),
        ((4, 64, 64, 3), np.uint8, "rgb", "axes"),
        ((64, 64, 4), np.uint8, "separated", "SEPARATED"),
        ((64, 64), np.uint16, "minisblack", "uint16"),
        ((64, 64, 3), np.uint8, "minisblack", "MINISBLACK"),
        ((64, 64, 3), np.uint8, "cielab", "CIELAB"),
        ((64, 64, 3), np.uint8, "icclab", "ICCLAB"),
        ((64, 64), np.uint8, "palette", "palette"),
    ],
)
@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_other_images_are_refused_with_the_reason(
    tmp_path: Path, shape, dtype, photometric: str, reason: str, tile
):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros(shape, dtype), photometric=photometric, tile=tile, planarconfig="contig"
    )
    with pytest.raises(SlideError, match=reason):
        open_slide(path)


@pytest.mark.parametrize(
    "layout",
    [
        {"tile": (6704, 6704), "compression": "zlib"},
        {"tile": (6704, 6704)},
        {"rowsperstrip": 6704, "compression": "zlib"},
    ],
    ids=str,
)
def test_pieces_too_large_for_the_cache_are_refused(tmp_path: Path, layout: dict[str, Any]):
    path = tmp_path / "a.tif"
    small = {key: (64, 64) if key == "tile" else 64 for key in layout if key != "compression"}
    tifffile.imwrite(
        path, np.zeros((64, 64, 3), np.uint8), photometric="rgb", metadata=None, **layout | small
    )
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tags = tiff.pages[0].tags
        for name in ("ImageWidth", "ImageLength", "TileWidth", "TileLength", "RowsPerStrip"):
            if name in tags:
                tags[name].overwrite(6704)
    with pytest.raises(SlideError, match="pieces of 135 MB"):
        open_slide(path)


TILED: dict[str, Any] = {
    "photometric": "rgb",
    "tile": (64, 64),
    "compression": "zlib",
    "metadata": None,
}


def test_an_svs_without_a_thumbnail_keeps_its_first_level(tmp_path: Path, noise):
    pixels = noise(512, 640)
    kind = "Aperio Image Library v11.2.1\r\n640x512 (64x64) JPEG/RGB Q=70|MPP = 0.5"
    with tifffile.TiffWriter(tmp_path / "a.svs") as tiff:
        for step in (1, 4, 16):
            tiff.write(pixels[::step, ::step], description=kind, **TILED)
    with open_slide(tmp_path / "a.svs") as slide:
        assert slide.backend == "tifffile"
        assert [level.downsample for level in slide.levels] == [1.0, 4.0, 16.0]
        found = slide.read_level(1, Region(0, 0, 128, 160))
    assert np.array_equal(found, pixels[::4, ::4])


def test_a_qptiff_is_told_from_its_pictures_by_their_kind_alone(tmp_path: Path, noise):
    """As PerkinElmer and Akoya write it: each page has a header, and each header a barcode."""
    pixels = noise(512, 640)
    kinds = {
        "FullResolution": pixels,
        "Thumbnail": pixels[::8, ::8],
        "ReducedResolution": pixels[::2, ::2],
        "Overview": pixels[:100, :50],
        "Label": pixels[:90, :90],
    }
    with tifffile.TiffWriter(tmp_path / "a.qptiff") as tiff:
        for kind, page in kinds.items():
            header = f"<PerkinElmer-QPI-ImageDescription><ImageType>{kind}</ImageType><Barcode />"
            tiff.write(
                page,
                description=f"{header}</PerkinElmer-QPI-ImageDescription>",
                software="PerkinElmer-QPI",
                subfiletype=int(kind != "FullResolution"),
                **TILED | {"tile": (64, 64) if "Resolution" in kind else None},
            )
    with open_slide(tmp_path / "a.qptiff") as slide:
        assert [level.size for level in slide.levels] == [Size(512, 640), Size(256, 320)]
        assert np.array_equal(slide.read_level(1, Region(0, 0, 256, 320)), pixels[::2, ::2])
        assert slide.warnings == ()


@pytest.mark.parametrize(
    "page",
    [
        {"pixels": np.zeros((32, 40, 3), np.uint8)},  # not said to be a copy
        {"pixels": np.zeros((40, 40, 3), np.uint8), "subfiletype": 1},
        {"pixels": np.zeros((32, 40), np.uint8), "subfiletype": 1, "photometric": "minisblack"},
        {"pixels": np.zeros((32, 40, 3), np.uint8), "subfiletype": 1, "description": "Label"},
    ],
    ids=["an-image-of-its-own", "of-other-proportions", "grey", "called-label"],
)
def test_what_is_no_smaller_copy_is_no_level(tmp_path: Path, noise, page: dict[str, Any]):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(noise(512, 640), **TILED)
        more = {**TILED, **page}
        tiff.write(more.pop("pixels"), **more)
    with open_slide(tmp_path / "a.tif") as slide:
        assert [level.size for level in slide.levels] == [Size(512, 640)]


@pytest.mark.parametrize(
    ("channels", "problem"),
    [
        ({"Name": ["DAPI", "FITC", "Cy5"]}, "called DAPI, FITC, Cy5"),
        ({"Color": [65535, 16711935, -16776961]}, "colours 0000FF, 00FF00, FF0000"),
        ({"Name": ["Red", "Green", "Blue"]}, None),
        ({"Color": [-16776961, 16711935, 65535]}, None),
        ({"Color": [-1, -1, -1]}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("backend", [None, "tifffile"])
def test_three_channels_that_are_no_colours_are_refused(
    tmp_path: Path, noise, channels: dict[str, list[Any]], problem: str | None, backend: str | None
):
    path = tmp_path / "a.ome.tif"
    pixels = np.moveaxis(noise(64, 80), -1, 0)
    metadata = {"axes": "CYX", **({"Channel": channels} if channels else {})}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
    if problem:
        with pytest.raises(SlideError, match=problem):
            open_slide(path, backend=backend)
    else:
        with open_slide(path, backend=backend) as slide:
            assert np.array_equal(slide.read_level(0, Region(0, 0, 64, 80)), noise(64, 80))


@pytest.mark.parametrize("ome", [False, True])
def test_a_level_that_is_smaller_along_one_axis_alone_is_left_out_and_told(
    tmp_path: Path, noise, ome: bool
):
    fine = noise(512, 640)
    coarse = fine[::4, ::4]
    layout = {key: value for key, value in TILED.items() if key != "metadata"}
    path = tmp_path / ("a.ome.tif" if ome else "a.tif")
    with tifffile.TiffWriter(path, ome=ome) as tiff:
        tiff.write(fine, subifds=2, metadata={"axes": "YXS"} if ome else None, **layout)
        for level in (fine[::2, ::4], coarse):
            tiff.write(level, subfiletype=1, **layout)
    with open_slide(path) as slide:
        assert [level.size for level in slide.levels] == [Size(512, 640), Size(128, 160)]
        assert len(slide.warnings) == 1
        assert "a further level, of 256 x 160 px, is left out" in slide.warnings[0]
        np.testing.assert_array_equal(slide.read_level(1, Region(0, 0, 128, 160)), coarse)


@pytest.mark.parametrize("backend", [None, "tifffile"])
def test_a_warning_says_which_of_several_scenes_is_shown(tmp_path: Path, noise, backend):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        for name, side in (("Erika", 64), ("Label", 300), ("Mustermann", 128), ("Scan", 100)):
            tiff.write(noise(side, side), photometric="rgb", metadata={"Name": name})
    with open_slide(tmp_path / "a.ome.tif", backend=backend) as slide:
        assert slide.size == Size(128, 128)
        (warning,) = slide.warnings
    assert "holds 3 images that may be slides: this is number 2, the largest" in warning
    assert not any(name in warning for name in ("Erika", "Mustermann"))


def write_planes(path: Path, pixels: np.ndarray, size_c: int = 3, count: int = 3) -> None:
    """As libvips does with the header that its users give it: one page for each channel, no `TiffData`."""
    height, width, _ = pixels.shape
    header = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels DimensionOrder="XYCZT" ID="Pixels:0" SizeC="{size_c}" SizeT="1" SizeX="{width}" '
        f'SizeY="{height}" SizeZ="1" Type="uint8" PhysicalSizeX="500" PhysicalSizeXUnit="nm" '
        'PhysicalSizeY="520" PhysicalSizeYUnit="nm"/></Image></OME>'
    )
    with tifffile.TiffWriter(path) as tiff:
        for channel in range(count):
            for step in (1, 2, 4):
                tiff.write(
                    pixels[::step, ::step, channel],
                    description=header.encode() if step == 1 else None,
                    subifds=2 if step == 1 else None,
                    subfiletype=0 if step == 1 else 1,
                    photometric="minisblack", tile=(32, 32), compression="zlib", metadata=None,
                )  # fmt: skip


def test_pages_that_a_header_without_tiffdata_calls_channels_are_colours(tmp_path: Path, noise):
    pixels = noise(200, 300)
    write_planes(tmp_path / "a.ome.tif", pixels)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert slide.mpp == pytest.approx((0.52, 0.5))
        assert [level.size for level in slide.levels] == [
            Size(200, 300),
            Size(100, 150),
            Size(50, 75),
        ]
        assert slide.warnings == ()
        for index, level in enumerate(slide.levels):
            found = slide.read_level(index, Region(0, 0, level.size.height, level.size.width))
            assert np.array_equal(found, pixels[:: 2**index, :: 2**index])


@pytest.mark.parametrize(("size_c", "count"), [(1, 3), (3, 2), (2, 2)])
def test_pages_that_are_not_the_headers_three_channels_are_refused(
    tmp_path: Path, noise, size_c: int, count: int
):
    write_planes(tmp_path / "a.ome.tif", noise(200, 300), size_c, count)
    with pytest.raises(SlideError, match="axes are IYX"):
        open_slide(tmp_path / "a.ome.tif")


def test_a_label_below_an_image_is_passed_over_in_silence(tmp_path: Path, noise):
    layout = {key: value for key, value in TILED.items() if key != "metadata"}
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(noise(256, 320), subifds=1, metadata=None, **layout)
        tiff.write(noise(64, 96), subfiletype=1, description="Label", metadata=None, **layout)
    with open_slide(tmp_path / "a.tif") as slide:
        assert (len(slide.levels), slide.warnings) == (1, ())


def test_a_mask_is_no_image_of_its_own_and_told_not_to_be_applied(tmp_path: Path, noise):
    """As GDAL writes it behind an image."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(noise(64, 80), photometric="rgb", metadata=None)
        tiff.write(noise(64, 80, 1)[..., 0] > 99, photometric="mask", subfiletype=4, metadata=None)
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.warnings == (
            "the file has a mask, which is not applied: what it hides is shown",
        )
        assert np.array_equal(slide.read_level(0, Region(0, 0, 64, 80)), noise(64, 80))
