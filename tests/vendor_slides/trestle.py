"""A Trestle TIFF as MedScan writes it, after OpenSlide's description of the format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from tests.vendor_slides.reducing import reduced


def write_trestle(
    path: Path,
    pixels: np.ndarray,
    overlap: int = 8,
    mpp: float = 0.5,
    levels: int = 2,
    tile: int = 64,
) -> None:
    """Write levels that are each half of the one before it, in tiles that overlap by half as much."""
    overlaps = [overlap // 2**level for level in range(levels)]
    header = (
        "Background Color=E6E6E6;Scan Speed=35;Objective Power=20;JPEG Quality=80;"
        f"OverlapsXY= {' '.join(f'{one} {one}' for one in overlaps)} ;Number of Levels={levels}"
    )
    with tifffile.TiffWriter(path) as tiff:
        for level, less in enumerate(overlaps):
            small, step = reduced(pixels, 2**level), tile - less
            rows, columns = (-(-(side - less) // step) for side in small.shape[:2])
            stored = small[_repeated(rows, tile, less, len(small))]
            stored = stored[:, _repeated(columns, tile, less, small.shape[1])]
            tiff.write(
                stored, tile=(tile, tile),
                photometric="rgb", compression="jpeg", compressionargs={"level": 95},
                subsampling=(1, 1), metadata=None,
                software="MedScan", description=None if level else header,
                subfiletype=int(level > 0), resolution=(mpp, mpp), resolutionunit="INCH",
            )  # fmt: skip


def _repeated(count: int, tile: int, overlap: int, side: int) -> np.ndarray:
    """Which rows or columns of an image lie in so many tiles, one after the other."""
    found = np.arange(tile) + (tile - overlap) * np.arange(count)[:, None]
    return found[found < side]
