"""TIFF layouts, alpha, damage, and closing."""

from __future__ import annotations

import errno
import gc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import tifffile
from skimage.data import astronaut

from napari_hmkd.errors import SlideError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.backends.shared_file import SharedFile
from napari_hmkd.slide.backends.tiff_backend import TiffBackend


def whole(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        return slide.read_level(0, Region(0, 0, slide.size.height, slide.size.width))


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"rowsperstrip": 7},
        {"rowsperstrip": 7, "compression": "lzw", "predictor": True},
        {"tile": (32, 48)},
        {"tile": (32, 48), "compression": "zlib"},
        {"bigtiff": True, "byteorder": ">", "tile": (32, 32)},
    ],
)
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_every_layout_gives_the_same_pixels(tmp_path, noise, layout: dict[str, Any], name: str):
    pixels = noise(100, 130)
    tifffile.imwrite(tmp_path / name, pixels, photometric="rgb", **layout)
    assert np.array_equal(whole(tmp_path / name), pixels)


@pytest.mark.parametrize("layout", [{}, {"tile": (32, 48), "compression": "zlib"}])
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_colours_stored_as_planes(tmp_path, noise, layout: dict[str, Any], name: str):
    pixels = noise(100, 130)
    planes = np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(tmp_path / name, planes, photometric="rgb", planarconfig="separate", **layout)
    assert np.array_equal(whole(tmp_path / name), pixels)


def test_planes_in_jpeg(tmp_path: Path):
    """As GDAL writes them, without JFIF's mark, where tifffile looks for three colours in one plane."""
    path = tmp_path / "a.tif"
    pixels = astronaut()[:100, :130]
    parts = (pixels[..., plane] for plane in range(3))
    tiles = [
        np.pad(part, ((0, 28), (0, 126)), "edge")[:, x : x + 128]
        for part in parts
        for x in (0, 128)
    ]
    mark = 20  # bytes of JFIF's, behind JPEG's own two
    coded = (simplejpeg.encode_jpeg(tile[..., None].copy(), 95, "GRAY") for tile in tiles)
    tifffile.imwrite(
        path, (one[:2] + one[mark:] for one in coded), shape=(3, 100, 130), dtype=np.uint8,
        photometric="rgb", planarconfig="separate", tile=(128, 128), compression="jpeg",
    )  # fmt: skip
    assert np.abs(whole(path).astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg"])
def test_colours_stored_as_pages_of_an_ome_tiff(tmp_path, noise, compression):
    pixels = noise(100, 130)
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        np.moveaxis(pixels, -1, 0),
        photometric="minisblack",
        metadata={"axes": "CYX"},
        compression=compression,
    )
    expected = np.moveaxis(tifffile.imread(tmp_path / "a.ome.tif"), 0, -1)
    assert np.array_equal(whole(tmp_path / "a.ome.tif"), expected)
    assert compression == "jpeg" or np.array_equal(expected, pixels)


def test_a_pyramid_in_sub_pages(tmp_path, noise):
    pixels = noise(128, 128)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        tiff.write(pixels, photometric="rgb", tile=(32, 32), subifds=1)
        tiff.write(pixels[::2, ::2], photometric="rgb", tile=(32, 32), subfiletype=1)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert [level.downsample for level in slide.levels] == [1.0, 2.0]
        assert np.array_equal(slide.read_level(1, Region(3, 5, 40, 50)), pixels[6:86:2, 10:110:2])


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        ("unassalpha", [255 - 155 * 128 // 255, 255 - 205 * 128 // 255, 255 - 255 * 128 // 255]),
        ("assocalpha", [227, 177, 127]),
        ("unspecified", [100, 50, 0]),
    ],
)
def test_alpha_is_flattened_on_white(tmp_path: Path, alpha: str, expected: list[int]):
    pixel = np.array([100, 50, 0, 128], np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.broadcast_to(pixel, (40, 40, 4)),
        photometric="rgb",
        extrasamples=[alpha],
        tile=(32, 32),
    )
    assert whole(tmp_path / "a.tif")[0, 0] == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("planar", [False, True])
def test_files_are_closed_at_once_and_reads_say_so(tmp_path: Path, noise, planar: bool):
    path = tmp_path / "a.tif"
    pixels = np.moveaxis(noise(64, 64), -1, 0) if planar else noise(64, 64)
    mode = "separate" if planar else "contig"
    tifffile.imwrite(path, pixels, photometric="rgb", planarconfig=mode, compression="zlib")
    gc.collect()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ResourceWarning)
        backend = TiffBackend(path)
        backend.close()
        backend.close()
        with pytest.raises(SlideReadError, match="was closed") as refusal:
            backend.read(0, Region(0, 0, 64, 64))
        assert "damaged" not in str(refusal.value)
        del backend, refusal
        gc.collect()
    assert [str(one.message) for one in found if path.name in str(one.message)] == []


def test_a_jpeg_tile_that_breaks_off_is_refused(tmp_path: Path, noise):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, noise(64, 64), photometric="rgb", tile=(64, 64), compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    with path.open("r+b") as file:
        file.seek(offset + count // 2)
        file.write(bytes(count - count // 2))
    with pytest.raises(SlideReadError, match="end of JPEG"):
        whole(path)


def test_a_tile_left_out_by_the_writer_is_blank(tmp_path: Path, noise):
    path = tmp_path / "a.ome.tif"
    pixels = noise(64, 128)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for tag in ("TileOffsets", "TileByteCounts"):
            values = list(tiff.pages[0].tags[tag].value)
            tiff.pages[0].tags[tag].overwrite([0, values[1]])
    assert (whole(path)[:, :64] == 255).all()
    assert np.array_equal(whole(path)[:, 64:], pixels[:, 64:])


def test_an_image_of_which_no_tile_was_written_is_refused(tmp_path: Path, noise):
    """As libvips and GDAL leave one whose codec failed; drawn, it would be blank glass."""
    layout = {"tile": (64, 64), "compression": "zlib", "photometric": "rgb"}
    tifffile.imwrite(tmp_path / "a.tif", noise(128, 128), **layout)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        for tag in ("TileOffsets", "TileByteCounts"):
            tiff.pages[0].tags[tag].overwrite([0, 0, 0, 0])
    with pytest.raises(SlideError, match="no tile of its image was written"):
        open_slide(tmp_path / "a.tif")


def test_a_slide_of_which_a_coarser_level_was_written_is_shown(tmp_path: Path, noise):
    pixels, layout = noise(256, 256), {"tile": (64, 64), "photometric": "rgb"}
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, subifds=1, **layout)
        file.write(pixels[::2, ::2], subfiletype=1, **layout)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        for tag in ("TileOffsets", "TileByteCounts"):
            tiff.pages[0].tags[tag].overwrite([0] * 16)
    with open_slide(tmp_path / "a.tif") as slide:
        coarse = slide.read_level(1, Region(0, 0, 128, 128))
    np.testing.assert_array_equal(coarse, pixels[::2, ::2])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_drive_that_fails_is_no_damage(tmp_path: Path, noise, monkeypatch, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(64, 64), photometric="rgb", compression=compression)

    def fail(*_: int) -> bytes:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    with open_slide(path) as slide:
        monkeypatch.setattr(SharedFile, "_at", fail)
        with pytest.raises(SlideStalledError, match=r"not connected.*disk or network") as failure:
            slide.read_level(0, Region(0, 0, 64, 64))
    assert "damaged" not in str(failure.value)
