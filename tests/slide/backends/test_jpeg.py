"""JPEG tiles: the pixels that other decoders give, and damage that they do not see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import tifffile
from PIL import Image
from skimage.data import astronaut

from napari_hmkd.errors import SlideReadError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide

WHOLE = Region(0, 0, 512, 512)


def write(path: Path, **more: Any) -> None:
    settings = {"photometric": "rgb", "tile": (128, 128), "compression": "jpeg", **more}
    pixels = astronaut()
    if settings["photometric"] == "ycbcr":  # tifffile takes them as they are to be stored
        pixels = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    tifffile.imwrite(path, pixels, **settings)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"compressionargs": {"level": 40}},
        {"photometric": "ycbcr"},
        {"photometric": "ycbcr", "subsampling": (2, 2)},
        {"photometric": "ycbcr", "subsampling": (2, 1)},
        {"compressionargs": {"outcolorspace": "rgb"}},
    ],
    ids=str,
)
def test_pixels_are_those_of_tifffile(tmp_path: Path, more: dict[str, Any]):
    write(tmp_path / "a.tif", **more)
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.backend == "tifffile"
        found = slide.read_level(0, WHOLE)
    assert np.array_equal(found, tifffile.imread(tmp_path / "a.tif"))
    assert np.abs(found.astype(int) - astronaut()).mean() < 12


def test_tables_that_tiles_share(shared_data: Path):
    path = shared_data / "slides/cmu-1-small-region.svs"
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].jpegtables
        expected = tiff.pages[0].asarray()
    with open_slide(path) as slide:
        assert np.array_equal(slide.read_level(0, Region(0, 0, *expected.shape[:2])), expected)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("with_what", ["zeros", "noise", "nothing"])
def test_damaged_data_are_an_error_of_their_tile_alone(
    tmp_path: Path, share: float, with_what: str
):
    write(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages[0]
        start, count = page.dataoffsets[5], page.databytecounts[5]
    at = int(share * count)
    length = {"zeros": 400, "noise": 400, "nothing": count - at}[with_what]
    length = min(length, count - at)
    noise = np.random.default_rng(1).bytes(length)
    with (tmp_path / "a.tif").open("r+b") as file:
        file.seek(start + at)
        file.write(noise if with_what == "noise" else bytes(length))
    with open_slide(tmp_path / "a.tif") as slide:
        with pytest.raises(SlideReadError, match="tile 5 cannot be read"):
            slide.read_level(0, WHOLE)
        sound = slide.read_level(0, Region(0, 0, 128, 512))
    assert np.abs(sound.astype(int) - astronaut()[:128]).mean() < 12


@pytest.mark.parametrize("subsampling", [(2, 2), (2, 1)])
def test_halved_colours_are_ycbcr_even_where_the_tag_says_rgb(tmp_path: Path, subsampling):
    """So libvips writes them with `rgbjpeg`, and wsidicom the levels that it makes for an RGB slide."""
    write(tmp_path / "a.tif", photometric="ycbcr", subsampling=subsampling)
    expected = tifffile.imread(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages[0].tags["PhotometricInterpretation"].overwrite(2)
    with open_slide(tmp_path / "a.tif") as slide:
        assert np.array_equal(slide.read_level(0, WHOLE), expected)


def replace_tile(path: Path, index: int, pixels: np.ndarray) -> None:
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages[0].dataoffsets[index], tiff.pages[0].databytecounts[index]
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=30, colorsubsampling="444")
    assert len(data) <= count
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data + bytes(count - len(data)))


@pytest.mark.parametrize(("height", "width"), [(16, 128), (128, 16), (127, 128), (128, 127)])
def test_a_tile_that_holds_too_few_pixels_is_no_glass(tmp_path: Path, height: int, width: int):
    write(tmp_path / "a.tif", photometric="ycbcr")
    replace_tile(tmp_path / "a.tif", 5, astronaut()[:height, :width])
    with open_slide(tmp_path / "a.tif") as slide, pytest.raises(SlideReadError, match="tile 5"):
        slide.read_level(0, WHOLE)


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64), (44, 44)])
def test_a_tile_at_the_edge_need_hold_no_more_than_the_image(
    tmp_path: Path, height: int, width: int
):
    """Wsidicom leaves the tiles of the levels that it makes as small as they come out."""
    pixels = astronaut()[:300, :300]
    encoded = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, encoded, photometric="ycbcr", tile=(128, 128), compression="jpeg")
    replace_tile(path, 8, astronaut()[256 : 256 + height, 256 : 256 + width])
    with open_slide(path) as slide:
        found = slide.read_level(0, Region(0, 0, 300, 300))
    assert np.abs(found[256:, 256:].astype(int) - pixels[256:, 256:]).mean() < 12
