"""Uncompressed strips: of their rows, no more is read than what is wanted."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hmkd.errors import SlideReadError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.loading.cache import TileCache

LARGE = (20_000, 20_000)


@pytest.mark.parametrize("name", ["planes.ome.tif", "planes.tif", "rows.tif"])
def test_a_part_of_a_large_uncompressed_image_costs_little_memory(tmp_path: Path, name: str):
    """The files are sparse: no more is written than their headers."""
    more = {
        "planes.ome.tif": {"shape": (3, *LARGE), "photometric": "minisblack"},
        "planes.tif": {"shape": (3, *LARGE), "photometric": "rgb", "planarconfig": "separate"},
        "rows.tif": {"shape": (*LARGE, 3), "photometric": "rgb"},
    }[name]
    metadata = {"axes": "CYX"} if name.endswith("ome.tif") else None
    tifffile.imwrite(tmp_path / name, dtype=np.uint8, metadata=metadata, **more)
    with open_slide(tmp_path / name) as slide:
        tracemalloc.start()
        pixels = slide.read_level(0, Region(9_000, 9_000, 100, 100))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert pixels.shape == (100, 100, 3)
    assert peak < 10e6  # a row has 60 kB


@pytest.mark.parametrize("width", [130, 9_000])  # gaps that are read, gaps that are skipped
@pytest.mark.parametrize("rows", [7, 100])
@pytest.mark.parametrize("planar", [False, True])
def test_any_part_of_uncompressed_strips(tmp_path, noise, width: int, rows: int, planar: bool):
    pixels = noise(100, width)
    stored = np.moveaxis(pixels, -1, 0) if planar else pixels
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", rowsperstrip=rows,
        planarconfig="separate" if planar else "contig",
    )  # fmt: skip
    with open_slide(tmp_path / "a.tif", cache=TileCache(0)) as slide:
        for y, x, height, wide in [(0, 0, 100, width), (5, 11, 50, 60), (99, width - 1, 1, 1)]:
            found = slide.read_level(0, Region(y, x, height, wide))
            assert np.array_equal(found, pixels[y : y + height, x : x + wide])


def test_an_uncompressed_file_that_is_cut_while_it_is_open_is_an_error(tmp_path: Path, noise):
    """With the file mapped into memory, the process was killed."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(2000, 300), photometric="rgb")
    with open_slide(path) as slide:
        os.truncate(path, 100_000)
        with pytest.raises(SlideReadError, match=r"ends .* bytes early"):
            slide.read_level(0, Region(1500, 0, 100, 100))
        assert slide.read_level(0, Region(0, 0, 50, 50)).any()
