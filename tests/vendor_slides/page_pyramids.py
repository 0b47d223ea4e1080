"""TIFFs of plain levels, told by a tag alone: Argos AVS and Huron, after OpenSlide's sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from tests.vendor_slides.common import JPEG, MPP, TILES, reduced

_LEVEL: dict[str, Any] = TILES | {
    "resolution": (10_000 / MPP, 10_000 / MPP),
    "resolutionunit": "CENTIMETER",
}


def write_argos(path: Path, planes: list[np.ndarray], beside: np.ndarray) -> None:
    """Write focal planes, each with two levels, then thumbnail and macro."""
    header = (
        "<Argos.Scan.Metadata><ObjectiveMagnification>20</ObjectiveMagnification>"
        f"<MinZ>0</MinZ><MaxZ>{len(planes) - 1}</MaxZ></Argos.Scan.Metadata>"
    )
    pages = [reduced(pixels, step) for pixels in planes for step in (1, 2)]
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, page in enumerate(pages):
            tags = [] if number else [(65000, 2, None, header, True)]
            tiff.write(page, extratags=tags, **_LEVEL)
        for _ in range(2):
            tiff.write(beside, **JPEG)


def write_huron(path: Path, pixels: np.ndarray, beside: np.ndarray) -> None:
    """Write level 0, a thumbnail, a further level, label and macro."""
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        make = [(271, 2, None, "Huron", True)]
        tiff.write(pixels, description=f"Resolution = {MPP:.2f} um", extratags=make, **_LEVEL)
        tiff.write(beside, description="Huron\nthumbnail", **JPEG)
        tiff.write(reduced(pixels, 2), **_LEVEL)
        for name in ("label", "macro"):
            tiff.write(beside, description=f"Huron\n{name}", subfiletype=1, **JPEG)
