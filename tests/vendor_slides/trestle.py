"""A Trestle TIFF as MedScan writes it, after OpenSlide's description of the format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from tests.vendor_slides.common import MPP, TILE_PX, TILES, reduced

_OVERLAPS = {1: 8, 2: 4}  # px, by the level's step


def write_trestle(path: Path, pixels: np.ndarray) -> None:
    """Write levels in tiles that overlap, the last of them cut."""
    overlaps = " ".join(f"{one} {one}" for one in _OVERLAPS.values())
    header = f"Background Color=E6E6E6;Objective Power=20;OverlapsXY= {overlaps} ;JPEG Quality=80"
    with tifffile.TiffWriter(path) as tiff:
        for step, overlap in _OVERLAPS.items():
            small = reduced(pixels, step)
            rows, columns = (_repeated(side, overlap) for side in small.shape[:2])
            tiff.write(
                small[rows][:, columns], description=header if step == 1 else None, software="MedScan",
                subfiletype=int(step > 1), resolution=(MPP, MPP), resolutionunit="INCH", **TILES,
            )  # fmt: skip


def _repeated(side: int, overlap: int) -> np.ndarray:
    """Which rows or columns of an image its tiles hold, one after the other."""
    step = TILE_PX - overlap
    found = np.arange(TILE_PX) + step * np.arange(-(-(side - overlap) // step))[:, None]
    return found[found < side]
