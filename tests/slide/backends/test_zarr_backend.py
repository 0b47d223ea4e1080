"""OME-Zarr 0.4 and 0.5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_hmkd.errors import SlideError, SlideReadError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "tczyx"])
@pytest.mark.parametrize("name", ["a.zarr", "Präparat 1.ome.zarr"])
def test_both_versions_open(tmp_path: Path, noise, version: str, axes: str, name: str, write_zarr):
    pixels = noise(100, 140)
    write_zarr(tmp_path / name, [pixels, pixels[::2, ::2]], version, axes)
    with open_slide(f"{tmp_path / name}/") as slide:
        assert (slide.backend, slide.mpp) == ("zarr", (0.5, 0.5))
        assert slide.mpp_source == "OME-Zarr scale"
        assert [level.downsample for level in slide.levels] == [1.0, 2.0]
        assert np.array_equal(slide.read_level(0, Region(0, 0, 100, 140)), pixels)
        assert np.array_equal(slide.read_level(1, Region(7, 9, 20, 30)), pixels[14:54:2, 18:78:2])


@pytest.mark.parametrize(
    ("unit", "scale", "mpp"),
    [("nanometer", 250.0, 0.25), ("millimeter", 0.0005, 0.5), (None, 0.5, None)],
)
def test_pixel_size_from_the_scale_and_its_unit(
    tmp_path: Path, noise, unit, scale, mpp, write_zarr
):
    write_zarr(tmp_path / "a.zarr", [noise(40, 40)], unit=unit, scale=scale)
    with open_slide(tmp_path / "a.zarr") as slide:
        assert slide.mpp == (None if mpp is None else pytest.approx((mpp, mpp)))


def test_the_first_image_of_a_bioformats2raw_store_opens(tmp_path: Path, noise, write_zarr):
    pixels = noise(40, 50)
    zarr.create_group(tmp_path / "a.zarr", zarr_format=3).attrs["ome"] = {
        "version": "0.5",
        "bioformats2raw.layout": 3,
    }
    write_zarr(tmp_path / "a.zarr/0", [pixels])
    with open_slide(tmp_path / "a.zarr") as slide:
        assert np.array_equal(slide.read_level(0, Region(0, 0, 40, 50)), pixels)


def test_a_damaged_chunk_fails_alone(tmp_path: Path, noise, write_zarr):
    pixels = noise(64, 64)
    write_zarr(tmp_path / "a.zarr", [pixels])
    (tmp_path / "a.zarr/0/c/0/0/0").write_bytes(b"damaged")
    with open_slide(tmp_path / "a.zarr") as slide:
        with pytest.raises(SlideReadError, match=r"a\.zarr"):
            slide.read_level(0, Region(0, 0, 10, 10))
        assert np.array_equal(slide.read_level(0, Region(32, 0, 32, 64)), pixels[32:])


@pytest.mark.parametrize(
    ("shape", "dtype"), [((64, 64, 1), np.uint8), ((64, 64, 3), np.uint16), ((64, 64, 5), np.uint8)]
)
def test_other_images_are_refused(tmp_path: Path, shape, dtype, write_zarr):
    write_zarr(tmp_path / "a.zarr", [np.zeros(shape, dtype)])
    with pytest.raises(SlideError, match="8 bits"):
        open_slide(tmp_path / "a.zarr")


def test_stores_without_an_image_are_refused(tmp_path: Path, noise, write_zarr):
    zarr.create_group(tmp_path / "empty.zarr", zarr_format=3)
    zarr.create_array(tmp_path / "array.zarr", data=noise(8, 8))
    write_zarr(tmp_path / "lost.zarr", [noise(40, 40)])
    (tmp_path / "lost.zarr/0/zarr.json").unlink()
    for name in ("empty.zarr", "array.zarr", "lost.zarr"):
        with pytest.raises(SlideError, match=name):
            open_slide(tmp_path / name)
