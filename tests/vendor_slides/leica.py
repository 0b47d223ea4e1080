"""A Leica SCN as the SCN400 writes it, after OpenSlide's description of the format."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from tests.vendor_slides.reducing import reduced

_XMLNS = "http://www.leica-microsystems.com/scn/2010/10/01"
_MACRO_UM = 16.0  # per pixel


def write_scn(
    path: Path,
    regions: Sequence[tuple[tuple[int, int], np.ndarray]],
    macro: np.ndarray,
    mpp: float = 0.5,
    levels: int = 2,
    objective: int = 20,
    barcode: str = "no barcode",
    tile: int = 64,
) -> None:
    """Write a macro of 16 um/px, and regions at a place (y, x) on the whole slide, in pixels of `mpp`.

    A level has a quarter of the length of the one before it, as Leica's have.
    """
    nm = 1000 * mpp
    whole = [round(side * 1000 * _MACRO_UM) for side in macro.shape[:2]]
    pyramids = [[macro], *([reduced(pixels, 4**n) for n in range(levels)] for _, pixels in regions)]
    places = [(0, 0), *(place for place, _ in regions)]
    images, ifd = [], 0
    for number, (pyramid, (y, x)) in enumerate(zip(pyramids, places, strict=True)):
        height, width = pyramid[0].shape[:2]
        size = [round(height * nm), round(width * nm)] if number else whole
        dimensions = "".join(
            f'<dimension sizeX="{one.shape[1]}" sizeY="{one.shape[0]}" r="{r}" ifd="{ifd + r}"/>'
            for r, one in enumerate(pyramid)
        )
        ifd += len(pyramid)
        images.append(
            f'<image name="image_{number:04}" uuid="urn:uuid:{number}">'
            "<creationDate>2013-07-09T12:30:47.87Z</creationDate>"
            '<device model="Leica SCN400;Leica SCN" version="1.5.1.10804 2012/05/10 13:29:07"/>'
            f'<pixels sizeX="{width}" sizeY="{height}">{dimensions}</pixels>'
            f'<view sizeX="{size[1]}" sizeY="{size[0]}" offsetX="{round(x * nm)}" '
            f'offsetY="{round(y * nm)}" spacingZ="0"/>'
            "<scanSettings><objectiveSettings>"
            f"<objective>{objective if number else 0.60833}</objective></objectiveSettings>"
            "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings>"
            "</scanSettings></image>"
        )
    header = (
        f'<?xml version="1.0"?><scn xmlns="{_XMLNS}" uuid="urn:uuid:a">'
        f'<collection name="a" uuid="urn:uuid:b" sizeX="{whole[1]}" sizeY="{whole[0]}">'
        f"<barcode>{base64.b64encode(barcode.encode()).decode()}</barcode>"
        f"{''.join(images)}</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, pyramid in enumerate(pyramids):
            for r, pixels in enumerate(pyramid):
                density = 10_000 / (4**r * mpp if number else _MACRO_UM)
                tiff.write(
                    pixels, photometric="rgb", tile=(tile, tile), compression="jpeg",
                    compressionargs={"level": 95}, subsampling=(1, 1), metadata=None,
                    description=None if number else header, software="Leica SCN",
                    resolution=(density, density), resolutionunit="CENTIMETER",
                )  # fmt: skip
