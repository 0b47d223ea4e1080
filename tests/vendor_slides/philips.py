"""A TIFF as Philips' software exports it, after OpenSlide's description of the format."""

from __future__ import annotations

import base64
from collections.abc import Collection
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from tests.vendor_slides.reducing import reduced


def write_philips(
    path: Path,
    pixels: np.ndarray,
    label: np.ndarray,
    mpp: float = 0.5,
    levels: int = 3,
    left_out: Collection[tuple[int, int]] = (),
    barcode: str = "no barcode",
    tile: int = 64,
) -> None:
    """Write levels that are each half of the one before it, in whole tiles, with black behind the image.

    The label is stored as a page and, as the macro, in the header. `left_out` are rows and columns of
    tiles of level 0, of whole multiples of `2**(levels - 1)` tiles, which no level stores.
    """
    settings = {
        "photometric": "rgb",
        "compression": "jpeg",
        "subsampling": (1, 1),
        "software": "Philips DP v1.0",
        "metadata": None,
    }
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            step = 2**level
            small = reduced(pixels, step)
            rows, columns = (-(-side // tile) for side in small.shape[:2])
            stored = np.zeros((rows * tile, columns * tile, 3), np.uint8)
            stored[: small.shape[0], : small.shape[1]] = small
            gone = {(y // step, x // step) for y, x in left_out}
            tiles = (
                None
                if (y, x) in gone
                else stored[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile]
                for y in range(rows)
                for x in range(columns)
            )
            tiff.write(
                tiles, shape=stored.shape, dtype=np.uint8, tile=(tile, tile), subfiletype=int(level > 0),
                description=None if level else _header(label, mpp, levels, barcode),
                compressionargs={"level": 95}, **settings,
            )  # fmt: skip
        tiff.write(label, description="Label", subfiletype=1, **settings)


def _header(label: np.ndarray, mpp: float, levels: int, barcode: str) -> str:
    def attribute(name: str, value: str, kind: str = "IString") -> str:
        return f'<Attribute Name="{name}" Group="0x0008" Element="0x0000" PMSVR="{kind}">{value}</Attribute>'

    def spacing(step: int) -> str:
        side = mpp / 1000 * step
        return attribute("DICOM_PIXEL_SPACING", f'"{side:.10g}" "{side:.10g}"', "IDoubleArray")

    def several(name: str, kind: str, parts: list[str]) -> str:
        found = "".join(f'<DataObject ObjectType="{kind}">{part}</DataObject>' for part in parts)
        return attribute(name, f"<Array>{found}</Array>", "IDataObjectArray")

    picture = _base64(imagecodecs.jpeg8_encode(label))
    beside = [
        attribute("PIM_DP_IMAGE_TYPE", kind) + attribute("PIM_DP_IMAGE_DATA", picture)
        for kind in ("MACROIMAGE", "LABELIMAGE")
    ]
    pyramid = [
        spacing(2**n) + attribute("PIIM_PIXEL_DATA_REPRESENTATION_NUMBER", str(n))
        for n in range(levels)
    ]
    slide = (
        attribute("PIM_DP_IMAGE_TYPE", "WSI")
        + attribute(
            "DICOM_DERIVATION_DESCRIPTION", "tiff-useBigTIFF=1-useRgb=0-levels=20,10,5-quality=80"
        )
        + spacing(1)
        + several("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", "PixelDataRepresentation", pyramid)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        + attribute("DICOM_ACQUISITION_DATETIME", "20160718122300.000000")
        + attribute("DICOM_MANUFACTURER", "PHILIPS")
        + attribute("PIM_DP_UFS_BARCODE", _base64(barcode.encode()))
        + several("PIM_DP_SCANNED_IMAGES", "DPScannedImage", [slide, *beside])
        + "</DataObject>"
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
