"""A Ventana BIF as the iScan Coreo writes it, after OpenSlide's description of the format."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import tifffile
from tests.vendor_slides.common import JPEG, MPP, TILE_PX, TILES, reduced

_OVERLAP = (6, 10)  # rows and columns that a tile shares with the one above or beside it
_STEP = (TILE_PX - _OVERLAP[0], TILE_PX - _OVERLAP[1])
_LEVELS = 3
_SOFTWARE = "ScanOutputManager 1.1"


def write_bif(
    path: Path,
    areas: Sequence[tuple[tuple[int, int], np.ndarray]],
    label: np.ndarray,
    user: str = "nobody",
    rightwards: str = "RIGHT",
) -> None:
    """Write areas at a place (y, x) on the slide, each cut into whole tiles that overlap.

    The tiles lie side by side in one grid, the areas below one another with blank tiles between them.
    """
    mosaics = [_mosaic(pixels) for _, pixels in areas]
    counts = [(len(one) // TILE_PX, one.shape[1] // TILE_PX) for one in mosaics]
    heights = [(rows - 1) * _STEP[0] + TILE_PX for rows, _ in counts]
    bottom = max(place[0] + height for (place, _), height in zip(areas, heights, strict=True))
    *tops, end = accumulate((rows + 1 for rows, _ in counts), initial=0)
    whole = 2 ** (_LEVELS - 1)  # a tile of the last level is so many of the first
    sides = [
        -(-side // whole) * whole * TILE_PX for side in (end, max(columns for _, columns in counts))
    ]
    grid = np.full((*sides, 3), 255, np.uint8)
    infos, origins = "", ""
    for number, (mosaic, top) in enumerate(zip(mosaics, tops, strict=True)):
        grid[top * TILE_PX :][: len(mosaic), : mosaic.shape[1]] = mosaic
        (y, x), (rows, columns) = areas[number][0], counts[number]
        infos += (
            f'<ImageInfo AOIScanned="1" AOIIndex="{number}" Width="{TILE_PX}" Height="{TILE_PX}" '
            f'NumRows="{rows}" NumCols="{columns}" Pos-X="{x}" Pos-Y="{bottom - y - heights[number]}">'
            f"{_joints(rows, columns, rightwards)}</ImageInfo>"
        )
        origins += f'<AOI{number} OriginX="0" OriginY="{top * TILE_PX}"/>'
    stitching = (
        f'<EncodeInfo Ver="2"><SlideStitchInfo>{infos}</SlideStitchInfo>'
        f"<AoiOrigin>{origins}</AoiOrigin></EncodeInfo>"
    )
    scan = f'<iScan Magnification="20" ScanRes="{MPP}" Z-layers="1" UserName="{user}"/>'
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(
            label, description="Label Image", extratags=[_xmp(scan)], software=_SOFTWARE, **JPEG
        )
        tiff.write(label, description="Thumbnail", **JPEG)
        for level in range(_LEVELS):
            tiff.write(
                reduced(grid, 2**level), description=f"level={level} mag={20 / 2**level:g} quality=90",
                extratags=[] if level else [_xmp(stitching)], **TILES,
            )  # fmt: skip


def _mosaic(pixels: np.ndarray) -> np.ndarray:
    """An image's whole tiles, with what they share in each of them."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (TILE_PX, TILE_PX), axis=(0, 1))
    tiles = windows[:: _STEP[0], :: _STEP[1]].transpose(0, 3, 1, 4, 2)
    rows, height, columns, width, channels = tiles.shape
    return tiles.reshape(rows * height, columns * width, channels)


def _joints(rows: int, columns: int, rightwards: str) -> str:
    """How the tiles of an area lie, which are numbered from below, every other row from the right."""

    def joint(way: str, one: tuple[int, int], other: tuple[int, int], y: int, x: int) -> str:
        return (
            f'<TileJointInfo FlagJoined="1" Confidence="98" Direction="{way}" Tile1="{number(*one)}" '
            f'Tile2="{number(*other)}" OverlapX="{x}" OverlapY="{y}"/>'
        )

    def number(row: int, column: int) -> int:
        above = rows - 1 - row
        return above * columns + (columns - 1 - column if above % 2 else column) + 1

    joints = ""
    for row, column in np.ndindex(rows, columns):
        if column:
            joints += joint(rightwards, (row, column - 1), (row, column), 0, _OVERLAP[1])
        if row:
            joints += joint("UP", (row, column), (row - 1, column), _OVERLAP[0], 0)
    return joints


def _xmp(text: str) -> tuple[int, int, int, bytes, bool]:
    data = f'<?xml version="1.0"?>{text}'.encode()
    return 700, 1, len(data), data, True
