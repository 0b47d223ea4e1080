"""Facts about a slide whose file has changed since it was opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.slide import open_slide
from napari_hmkd.slide.description import describe


def test_the_size_of_a_file_and_of_a_folder(tmp_path: Path, write_pyramid, write_zarr):
    pixels = np.zeros((64, 64, 3), np.uint8)
    write_pyramid(tmp_path / "a.tif", pixels)
    write_zarr(tmp_path / "b.zarr", [pixels])
    with open_slide(tmp_path / "a.tif") as slide:
        assert describe(slide)["file size"].endswith("bytes")
    with open_slide(tmp_path / "b.zarr") as slide:
        assert describe(slide)["file size"] == "a folder"


@pytest.mark.parametrize("name", ["a.tif", "b.zarr"])
def test_a_removed_slide_is_said_to_be_gone(tmp_path: Path, write_pyramid, write_zarr, name: str):
    pixels = np.zeros((64, 64, 3), np.uint8)
    path = tmp_path / name
    write_zarr(path, [pixels]) if name.endswith("zarr") else write_pyramid(path, pixels)
    with open_slide(path) as slide:
        path.rename(tmp_path / "elsewhere")
        assert describe(slide)["file size"].startswith("gone")
        assert describe(slide)["dimensions"].startswith("64 x 64 px")
