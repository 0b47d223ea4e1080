"""A Leica SCN as the SCN400 writes it, after OpenSlide's description of the format."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from tests.vendor_slides.common import MPP, TILES, reduced

_XMLNS = "http://www.leica-microsystems.com/scn/2010/10/01"
_MACRO_UM = 16.0  # per pixel
_STEPS = (1, 4)


def write_scn(
    path: Path,
    regions: Sequence[tuple[tuple[int, int], np.ndarray]],
    macro: np.ndarray,
    barcode: str,
) -> None:
    """Write a macro of 16 um/px, and regions of 0.5 um/px at a place (y, x) px on the whole slide."""
    whole_nm = [round(side * 1000 * _MACRO_UM) for side in macro.shape[:2]]
    images = [_image(0, [macro], (0, 0), _MACRO_UM, "0.60833")]
    pages = [(_MACRO_UM, macro)]
    for place, pixels in regions:
        pyramid = [reduced(pixels, step) for step in _STEPS]
        images.append(_image(len(pages), pyramid, place, MPP, "20"))
        pages += [(MPP * step, page) for step, page in zip(_STEPS, pyramid, strict=True)]
    header = (
        f'<?xml version="1.0"?><scn xmlns="{_XMLNS}" uuid="urn:uuid:a">'
        f'<collection name="a" uuid="urn:uuid:b" sizeX="{whole_nm[1]}" sizeY="{whole_nm[0]}">'
        f"<barcode>{base64.b64encode(barcode.encode()).decode()}</barcode>"
        f"{''.join(images)}</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, (mpp, page) in enumerate(pages):
            tiff.write(
                page, description=None if number else header, software="Leica SCN",
                resolution=(10_000 / mpp, 10_000 / mpp), resolutionunit="CENTIMETER", **TILES,
            )  # fmt: skip


def _image(
    first_page: int, pyramid: list[np.ndarray], place: tuple[int, int], mpp: float, objective: str
) -> str:
    (y, x), (height, width, _) = place, pyramid[0].shape
    nm = 1000 * mpp
    dimensions = "".join(
        f'<dimension sizeX="{page.shape[1]}" sizeY="{page.shape[0]}" r="{r}" ifd="{first_page + r}"/>'
        for r, page in enumerate(pyramid)
    )
    return (
        f'<image name="image_{first_page:04}" uuid="urn:uuid:{first_page}">'
        "<creationDate>2013-07-09T12:30:47.87Z</creationDate>"
        '<device model="Leica SCN400;Leica SCN" version="1.5.1.10804 2012/05/10 13:29:07"/>'
        f'<pixels sizeX="{width}" sizeY="{height}">{dimensions}</pixels>'
        f'<view sizeX="{width * nm:.0f}" sizeY="{height * nm:.0f}" '
        f'offsetX="{x * nm:.0f}" offsetY="{y * nm:.0f}" spacingZ="0"/>'
        f"<scanSettings><objectiveSettings><objective>{objective}</objective></objectiveSettings>"
        "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
        "<illuminationSource>brightfield</illuminationSource></illuminationSettings>"
        "</scanSettings></image>"
    )
