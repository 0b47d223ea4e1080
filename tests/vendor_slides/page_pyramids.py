"""Scanners' TIFFs of whole levels, told by a tag alone: Argos AVS and Huron, after OpenSlide's sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from tests.vendor_slides.reducing import reduced

_SETTINGS = {"photometric": "rgb", "compression": "jpeg", "subsampling": (1, 1), "metadata": None}
_LEVEL = {"tile": (64, 64), "compressionargs": {"level": 95}, "resolutionunit": "CENTIMETER"}


def write_argos(path: Path, planes: list[np.ndarray], beside: np.ndarray, mpp: float = 0.5) -> None:
    """Write focal planes, each with two levels, then thumbnail and macro."""
    header = (
        "<Argos.Scan.Metadata><ObjectiveMagnification>20</ObjectiveMagnification>"
        f"<MinZ>0</MinZ><MaxZ>{len(planes) - 1}</MaxZ></Argos.Scan.Metadata>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, pixels in enumerate(planes):
            for step in (1, 2):
                tags = [] if number or step > 1 else [(65000, 2, None, header, True)]
                density = 10_000 / (mpp * step)
                tiff.write(
                    reduced(pixels, step), extratags=tags, resolution=(density, density),
                    **_LEVEL, **_SETTINGS,
                )  # fmt: skip
        for _ in range(2):
            tiff.write(beside, **_SETTINGS)


def write_huron(path: Path, pixels: np.ndarray, beside: np.ndarray, mpp: float = 0.5) -> None:
    """Write level 0, a thumbnail, a further level, label and macro."""
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for step in (1, 2):
            tiff.write(
                reduced(pixels, step), description=f"Resolution = {mpp:.2f} um",
                extratags=[(271, 2, None, "Huron", True)], resolution=(10_000 / mpp,) * 2,
                **_LEVEL, **_SETTINGS,
            )  # fmt: skip
            if step == 1:
                tiff.write(beside, description="Huron\nthumbnail", **_SETTINGS)
        for name in ("label", "macro"):
            tiff.write(beside, description=f"Huron\n{name}", subfiletype=1, **_SETTINGS)
