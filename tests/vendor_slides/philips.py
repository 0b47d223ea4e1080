"""A TIFF as Philips' software exports it, after OpenSlide's description of the format."""

from __future__ import annotations

import base64
from collections.abc import Collection
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from tests.vendor_slides.common import JPEG, MPP, TILE_PX, TILES, reduced

_STEPS = (1, 2)


def write_philips(
    path: Path,
    pixels: np.ndarray,
    label: np.ndarray,
    left_out: Collection[tuple[int, int]],
    barcode: str,
) -> None:
    """Write levels in whole tiles, with black behind the image; the label as a page and in the header.

    `left_out` are rows and columns of level 0's tiles, two by two, which no level stores.
    """
    with tifffile.TiffWriter(path) as tiff:
        for step in _STEPS:
            small = reduced(pixels, step)
            rows, columns = (-(-side // TILE_PX) for side in small.shape[:2])
            padding = [
                (0, rows * TILE_PX - len(small)),
                (0, columns * TILE_PX - small.shape[1]),
                (0, 0),
            ]
            stored = np.pad(small, padding)
            gone = {(y // step, x // step) for y, x in left_out}
            tiles = (
                None
                if place in gone
                else stored[place[0] * TILE_PX :, place[1] * TILE_PX :][:TILE_PX, :TILE_PX]
                for place in np.ndindex(rows, columns)
            )
            tiff.write(
                tiles, shape=stored.shape, dtype=np.uint8, software="Philips DP v1.0",
                description=_header(label, barcode) if step == 1 else None, subfiletype=int(step > 1), **TILES,
            )  # fmt: skip
        tiff.write(label, description="Label", subfiletype=1, **JPEG)


def _header(label: np.ndarray, barcode: str) -> str:
    picture = _attribute("PIM_DP_IMAGE_DATA", _base64(imagecodecs.jpeg8_encode(label)))
    levels = [_spacing(step) for step in _STEPS]
    slide = (
        _attribute("PIM_DP_IMAGE_TYPE", "WSI")
        + _attribute("DICOM_DERIVATION_DESCRIPTION", "tiff-useBigTIFF=1-levels=20,10-quality=80")
        + _spacing(1)
        + _several("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", "PixelDataRepresentation", levels)
    )
    images = [
        slide,
        *(_attribute("PIM_DP_IMAGE_TYPE", kind) + picture for kind in ("MACROIMAGE", "LABELIMAGE")),
    ]
    return (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        + _attribute("DICOM_ACQUISITION_DATETIME", "20160718122300.000000")
        + _attribute("PIM_DP_UFS_BARCODE", _base64(barcode.encode()))
        + _several("PIM_DP_SCANNED_IMAGES", "DPScannedImage", images)
        + "</DataObject>"
    )


def _attribute(name: str, value: str) -> str:
    return f'<Attribute Name="{name}" Group="0x0008" Element="0x0000" PMSVR="IString">{value}</Attribute>'


def _spacing(step: int) -> str:
    side_mm = f'"{MPP * step / 1000:.10g}"'
    return _attribute("DICOM_PIXEL_SPACING", f"{side_mm} {side_mm}")


def _several(name: str, kind: str, parts: list[str]) -> str:
    objects = "".join(f'<DataObject ObjectType="{kind}">{part}</DataObject>' for part in parts)
    return _attribute(name, f"<Array>{objects}</Array>")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
