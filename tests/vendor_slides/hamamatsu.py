"""Writes VMS and VMU slides, after OpenSlide's description of the formats."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image

MAP_STEP = 16
MCU_PX = 16
NGR_HEADER_BYTES = 32


def write_vms(
    path: Path, pixels: np.ndarray, columns: int = 2, mpp: float = 0.5, tile_px: int = 64
) -> None:
    """Write `pixels` as JPEGs side by side, with a map of a sixteenth of the side and a red macro image.

    Each JPEG restarts after `tile_px`, so that a part of it can be decoded.
    """
    settings: dict[str, object] = {"NoJpegColumns": columns, "NoJpegRows": 1}
    for column, part in enumerate(np.split(pixels, columns, axis=1)):
        file = f"{path.stem}({column},0).jpg" if column else f"{path.stem}.jpg"
        settings[f"ImageFile({column},0)" if column else "ImageFile"] = file
        _write_jpeg(path.with_name(file), part, tile_px)
    settings["MapFile"] = f"{path.stem}_map2.jpg"
    _write_jpeg(path.with_name(f"{path.stem}_map2.jpg"), pixels[::MAP_STEP, ::MAP_STEP], MCU_PX)
    _write_settings(path, "Virtual Microscope Specimen", settings, pixels, mpp)


def write_vmu(path: Path, pixels: np.ndarray, mpp: float = 0.5, column_px: int = 64) -> None:
    """Write `pixels` and a map of a sixteenth of the side without loss, in columns, and a red macro image."""
    settings = {
        "ImageFile": f"{path.stem}.ngr", "MapFile": f"{path.stem}_map2.ngr",
        "BitsPerPixel": 36, "PixelOrder": "RGB",
    }  # fmt: skip
    _write_ngr(path.with_suffix(".ngr"), pixels, column_px)
    small = pixels[::MAP_STEP, ::MAP_STEP]
    _write_ngr(path.with_name(f"{path.stem}_map2.ngr"), small, column_px // MAP_STEP)
    _write_settings(path, "Uncompressed Virtual Microscope Specimen", settings, pixels, mpp)


def _write_settings(
    path: Path, group: str, settings: dict[str, object], pixels: np.ndarray, mpp: float
) -> None:
    """Write the macro image, and the file that is opened."""
    macro = path.with_name(f"{path.stem}_macro.jpg")
    _write_jpeg(macro, np.full((48, 64, 3), (255, 0, 0), np.uint8), MCU_PX)
    height, width, _ = pixels.shape
    settings = settings | {
        "NoLayers": 1, "MacroImage": macro.name, "SourceLens": 20, "Created": "2013/07/09",
        "PhysicalWidth": round(width * mpp * 1000), "PhysicalHeight": round(height * mpp * 1000),
    }  # fmt: skip
    lines = [f"[{group}]", *(f"{key}={value}" for key, value in settings.items())]
    path.write_bytes("\r\n".join(lines).encode())


def _write_jpeg(path: Path, pixels: np.ndarray, tile_px: int) -> None:
    Image.fromarray(pixels).save(
        path, quality=95, subsampling="4:2:2", restart_marker_blocks=tile_px // MCU_PX
    )


def _write_ngr(path: Path, pixels: np.ndarray, column_px: int) -> None:
    """Write 12 bits of each colour, one column of the image after the other."""
    height, width, _ = pixels.shape
    header = struct.pack("<4s3i8xi4x", b"GN", width, height, column_px, NGR_HEADER_BYTES)
    columns = np.split(pixels.astype("<u2") << 4, width // column_px, axis=1)
    path.write_bytes(header + b"".join(column.tobytes() for column in columns))
