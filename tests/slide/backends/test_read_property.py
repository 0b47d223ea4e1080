"""Whatever the back end: a region of a level is the slice of what was written."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide

sides = st.integers(1, 300)
tiles = st.sampled_from([16, 48, 64, 128])
corners = st.integers(-40, 320)
extents = st.integers(1, 200)


def write_tiff(path: Path, levels: list[np.ndarray], tile: int, compression: str) -> Path:
    with tifffile.TiffWriter(path / "a.tif") as tiff:
        for number, pixels in enumerate(levels):
            tiff.write(
                pixels, photometric="rgb", tile=(tile, tile), compression=compression,
                subfiletype=int(number > 0), metadata=None,
            )  # fmt: skip
    return path / "a.tif"


def write_strips(path: Path, levels: list[np.ndarray], tile: int) -> Path:
    with tifffile.TiffWriter(path / "a.tif") as tiff:
        for number, pixels in enumerate(levels):
            tiff.write(
                pixels, photometric="rgb", rowsperstrip=tile, compression="zlib",
                subfiletype=int(number > 0), metadata=None,
            )  # fmt: skip
    return path / "a.tif"


def write_zarr(path: Path, levels: list[np.ndarray], tile: int, version: int) -> Path:
    group = zarr.open_group(path / "a.zarr", mode="w", zarr_format=version)
    datasets = []
    for number, pixels in enumerate(levels):
        array = group.create_array(
            str(number), shape=(3, *pixels.shape[:2]), dtype=np.uint8, chunks=(3, tile, tile)
        )
        array[:] = np.moveaxis(pixels, -1, 0)
        scale = [1.0, levels[0].shape[0] / len(pixels), levels[0].shape[1] / pixels.shape[1]]
        transform = {"type": "scale", "scale": scale}
        datasets.append({"path": str(number), "coordinateTransformations": [transform]})
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    image = {"multiscales": [{"axes": axes, "datasets": datasets, "version": "0.4"}]}
    group.attrs.update(image if version == 2 else {"ome": {"version": "0.5", **image}})
    return path / "a.zarr"


PLAIN = {"coding": "plain", "photometric": "RGB"}
LOSSLESS = {"coding": "jpeg 2000, lossless", "photometric": "RGB"}
WRITERS = {
    "tifffile, deflate": ("tifffile", lambda *a: write_tiff(*a, "zlib")),
    "tifffile, LZW": ("tifffile", lambda *a: write_tiff(*a, "lzw")),
    "tifffile, strips": ("tifffile", write_strips),
    "openslide": ("openslide", lambda *a: write_tiff(*a, "zlib")),
    "zarr 0.4": ("zarr", lambda *a: write_zarr(*a, 2)),
    "zarr 0.5": ("zarr", lambda *a: write_zarr(*a, 3)),
    "DICOM": ("pydicom", lambda *a, write: write(*a, **PLAIN)[0]),
    "DICOM, sparse": (
        "pydicom", lambda *a, write: write(*a, organization="TILED_SPARSE", **LOSSLESS)[0]
    ),
    "DICOM, in fragments": (
        "pydicom", lambda *a, write: write(*a, table="none", fragments=2, **LOSSLESS)[0]
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=25)
@given(sides, sides, tiles, st.lists(st.tuples(corners, corners, extents, extents), max_size=6))
def test_a_region_is_the_slice_of_what_was_written(
    write_dicom,
    writer: str,
    height: int,
    width: int,
    tile: int,
    places: list[tuple[int, int, int, int]],
) -> None:
    backend, write = WRITERS[writer]
    if backend == "pydicom":
        write = partial(write, write=write_dicom)
    if backend == "openslide":  # it interpolates in levels of any other downsample
        height, width = -(-height // 4) * 4, -(-width // 4) * 4
    drawn = np.random.default_rng(height * 301 + width).integers(
        1, 255, (height, width, 3), np.uint8
    )
    levels = [drawn[::step, ::step] for step in (1, 2, 4) if step <= min(height, width)]
    with TemporaryDirectory(prefix="Schnitt ä ") as folder:
        path = write(Path(folder), levels, tile)
        with open_slide(path, backend=backend) as slide:
            assert [(s.size.height, s.size.width) for s in slide.levels] == [
                pixels.shape[:2] for pixels in levels
            ]
            for number, pixels in enumerate(levels):
                around = np.pad(pixels, ((400, 600), (400, 600), (0, 0)), constant_values=255)
                for y, x, tall, wide in places:
                    expected = around[y + 400 : y + 400 + tall, x + 400 : x + 400 + wide]
                    for keep in (False, False, True, False):  # of each, other tiles are held
                        found = slide.read_level(number, Region(y, x, tall, wide), keep)
                        assert np.array_equal(found, expected)
