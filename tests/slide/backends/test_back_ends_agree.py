"""One slide through several back ends: the same levels, the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hmkd.geometry import Region
from napari_hmkd.slide import Slide, open_slide

LOSSY = {"photometric": "ycbcr", "compression": "jpeg"}


@pytest.mark.parametrize(
    "more",
    [
        {"compression": "zlib"},
        {"compression": "lzw", "predictor": True},
        {"compression": None},
        {**LOSSY, "subsampling": (1, 1)},
        {**LOSSY, "subsampling": (2, 2)},
        {"photometric": "rgb", "compression": "jpeg"},
    ],
    ids=lambda more: "-".join(map(str, more.values())),
)
def test_tifffile_and_openslide_read_the_same_pixels(tmp_path, noise, write_pyramid, more):
    """To the last bit, JPEG included: both have libjpeg-turbo enlarge halved colours smoothly."""
    write_pyramid(tmp_path / "a.tif", noise(256, 320).repeat(2, 0), levels=2, **more)
    with (
        open_slide(tmp_path / "a.tif", backend="tifffile") as first,
        open_slide(tmp_path / "a.tif", backend="openslide") as second,
    ):
        _assert_same(first, second, tolerance=0)


def test_jpeg_planes_read_the_same(tmp_path: Path, noise):
    planes = np.moveaxis(noise(256, 320).repeat(2, 0), -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", tile=(64, 64),
        compression="jpeg", metadata=None,
    )  # fmt: skip
    with (
        open_slide(tmp_path / "a.tif", backend="tifffile") as first,
        open_slide(tmp_path / "a.tif", backend="openslide") as second,
    ):
        _assert_same(first, second, tolerance=0)


@pytest.mark.parametrize("steps", [(1, 16), (1, 4, 8), (1, 8, 64), (1, 5, 25)], ids=str)
def test_pyramids_of_any_steps_have_the_same_levels(tmp_path: Path, noise, steps):
    pixels = noise(1600, 1600)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for step in steps:
            tiff.write(
                pixels[::step, ::step], subfiletype=int(step > 1), photometric="rgb",
                tile=(64, 64), compression="zlib", metadata=None,
            )  # fmt: skip
    with (
        open_slide(tmp_path / "a.tif", backend="tifffile") as first,
        open_slide(tmp_path / "a.tif", backend="openslide") as second,
    ):
        assert [level.downsample for level in first.levels] == pytest.approx(steps, rel=0.03)
        _assert_same(first, second, tolerance=0)


@pytest.mark.parametrize(
    "name", ["cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs", "her2st_C3_generic.tif"]
)
def test_tifffile_and_openslide_agree_on_real_slides(shared_data: Path, name: str):
    path = shared_data / "slides" / name
    with (
        open_slide(path, backend="tifffile") as first,
        open_slide(path, backend="openslide") as second,
    ):
        assert first.mpp == (second.mpp and pytest.approx(second.mpp, rel=1e-4))
        _assert_same(first, second, tolerance=0)


@pytest.mark.parametrize(
    "more",
    [{}, {"photometric": "RGB"}, {"coding": "jpeg 2000", "photometric": "YBR_ICT"}],
    ids=str,
)
def test_pydicom_and_openslide_read_the_same_pixels(tmp_path: Path, noise, write_dicom, more):
    pixels = noise(256, 320)
    files = write_dicom(tmp_path, [pixels, pixels[::2, ::2]], **more)
    with (
        open_slide(files[0], backend="pydicom") as first,
        open_slide(files[0], backend="openslide") as second,
    ):
        _assert_same(first, second, tolerance=0)


def test_pydicom_and_openslide_agree_on_a_real_slide(shared_data: Path):
    path = shared_data / "slides/cmu-1-small-region-dicom"
    with (
        open_slide(path, backend="pydicom") as first,
        open_slide(path, backend="openslide") as second,
    ):
        assert first.mpp == second.mpp
        _assert_same(first, second, tolerance=0)


def test_a_store_with_the_pixels_of_a_tiff_reads_the_same(
    tmp_path, noise, write_pyramid, write_zarr
):
    pixels = noise(128, 192)
    write_pyramid(tmp_path / "a.tif", pixels, levels=2)
    write_zarr(tmp_path / "a.zarr", [pixels, pixels[::2, ::2]])
    with open_slide(tmp_path / "a.tif") as first, open_slide(tmp_path / "a.zarr") as second:
        _assert_same(first, second, tolerance=0)


def _assert_same(first: Slide, second: Slide, tolerance: int) -> None:
    """Each level's top left corner, where OpenSlide does not interpolate; level 0's middle, too."""
    assert [level.size for level in first.levels] == [level.size for level in second.levels]
    factors = [[level.downsample for level in slide.levels] for slide in (first, second)]
    assert factors[0] == pytest.approx(factors[1])
    middle = Region(first.size.height // 2 - 13, first.size.width // 2 - 7, 100, 90)
    places = [(0, middle), *((level, Region(0, 0, 128, 128)) for level in range(len(factors[0])))]
    assert first.read_level(0, middle).std() > 1  # something is seen
    for level, region in places:
        one, other = (slide.read_level(level, region).astype(int) for slide in (first, second))
        assert np.abs(one - other).max() <= tolerance
