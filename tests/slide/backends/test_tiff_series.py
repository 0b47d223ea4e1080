"""TIFFs that are no slides that can be graded, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_hmkd.errors import SlideError
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
