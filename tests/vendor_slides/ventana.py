"""A Ventana BIF as the iScan Coreo writes it, after OpenSlide's description of the format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from tests.vendor_slides.reducing import reduced

SCAN = (
    'Magnification="20" ScanRes="{mpp}" Z-layers="1" UnitNumber="B1" UserName="{user}" '
    'BuildVersion="3.3.1.1"'
)


def write_bif(
    path: Path,
    areas: Sequence[tuple[tuple[int, int], np.ndarray]],
    label: np.ndarray,
    overlap: tuple[int, int] = (6, 10),
    mpp: float = 0.5,
    levels: int = 3,
    tile: int = 64,
    rightwards: str = "RIGHT",
    user: str = "nobody",
) -> None:
    """Write areas at a place (y, x) on the slide, each cut into tiles that overlap by so many rows and columns.

    What an area has beyond its last whole tile is not stored. The areas' tiles lie below one another
    in one grid, with a row of blank ones between them, and are put together by the reader.
    """
    step = (tile - overlap[0], tile - overlap[1])
    counts = [
        [(n - tile) // one + 1 for n, one in zip(pixels.shape, step, strict=False)]
        for _, pixels in areas
    ]
    bottom = max(
        y + (rows - 1) * step[0] + tile
        for ((y, _), _), (rows, _) in zip(areas, counts, strict=True)
    )
    across = 2 ** (levels - 1)  # a tile of the last level is so many of the first
    height = -(-sum(rows + 1 for rows, _ in counts) // across) * across
    width = -(-max(columns for _, columns in counts) // across) * across
    grid = np.full((height * tile, width * tile, 3), 255, np.uint8)
    infos, origins, top = [], [], 0
    for number, (((y, x), pixels), (rows, columns)) in enumerate(zip(areas, counts, strict=True)):
        for row, column in np.ndindex(rows, columns):
            piece = pixels[row * step[0] :, column * step[1] :][:tile, :tile]
            at = ((top + row) * tile, column * tile)
            grid[at[0] : at[0] + tile, at[1] : at[1] + tile] = piece
        above = bottom - y - ((rows - 1) * step[0] + tile)
        infos.append(
            f'<ImageInfo AOIScanned="1" AOIIndex="{number}" Width="{tile}" Height="{tile}" NumRows="{rows}" '
            f'NumCols="{columns}" Pos-X="{x}" Pos-Y="{above}">{_joints(rows, columns, overlap, rightwards)}</ImageInfo>'
        )
        origins.append(f'<AOI{number} OriginX="0" OriginY="{top * tile}"/>')
        top += rows + 1
    stitching = (
        f'<?xml version="1.0"?><EncodeInfo Ver="2"><SlideStitchInfo>{"".join(infos)}</SlideStitchInfo>'
        f"<AoiOrigin>{''.join(origins)}</AoiOrigin></EncodeInfo>"
    )
    scan = f'<?xml version="1.0"?><Metadata><iScan {SCAN.format(mpp=mpp, user=user)}/></Metadata>'
    settings = {
        "photometric": "rgb",
        "compression": "jpeg",
        "subsampling": (1, 1),
        "software": "ScanOutputManager 1.1",
        "metadata": None,
    }
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(label, description="Label Image", extratags=[_xmp(scan)], **settings)
        tiff.write(label, description="Thumbnail", **settings)
        for level in range(levels):
            tiff.write(
                reduced(grid, 2**level), tile=(tile, tile),
                description=f"level={level} mag={20 / 2**level:g} quality=90",
                extratags=[] if level else [_xmp(stitching)], compressionargs={"level": 95}, **settings,
            )  # fmt: skip


def _joints(rows: int, columns: int, overlap: tuple[int, int], rightwards: str) -> str:
    """How the tiles of an area lie, which are numbered from below, every other row from the right."""

    def number(row: int, column: int) -> int:
        from_below = rows - 1 - row
        return from_below * columns + (columns - 1 - column if from_below % 2 else column) + 1

    pairs = [
        *((rightwards, (y, x), (y, x + 1)) for y in range(rows) for x in range(columns - 1)),
        *(("UP", (y, x), (y - 1, x)) for y in range(1, rows) for x in range(columns)),
    ]
    return "".join(
        f'<TileJointInfo FlagJoined="1" Confidence="98" Direction="{way}" Tile1="{number(*one)}" '
        f'Tile2="{number(*other)}" OverlapX="{overlap[1] if way != "UP" else 0}" '
        f'OverlapY="{overlap[0] if way == "UP" else 0}"/>'
        for way, one, other in pairs
    )


def _xmp(text: str) -> tuple[int, int, int, bytes, bool]:
    data = text.encode()
    return 700, 1, len(data), data, True
