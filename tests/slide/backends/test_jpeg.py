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


def test_a_tile_that_holds_too_few_rows_is_no_glass(tmp_path: Path):
    write(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        start, count = tiff.pages[0].dataoffsets[5], tiff.pages[0].databytecounts[5]
    low = simplejpeg.encode_jpeg(np.ascontiguousarray(astronaut()[:16, :128]), quality=30)
    assert len(low) <= count
    with (tmp_path / "a.tif").open("r+b") as file:
        file.seek(start)
        file.write(low + bytes(count - len(low)))
    with open_slide(tmp_path / "a.tif") as slide, pytest.raises(SlideReadError, match="tile 5"):
        slide.read_level(0, WHOLE)
