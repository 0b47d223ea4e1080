"""Writes VMS slides, after OpenSlide's description of the format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

MCU_PX = 16


def write_vms(
    path: Path, pixels: np.ndarray, columns: int = 2, mpp: float = 0.5, tile_px: int = 64
) -> None:
    """Write `pixels` as JPEGs side by side, with a map of a sixteenth of the side and a red macro image.

    Each JPEG restarts after `tile_px`, so that a part of it can be decoded.
    """
    height, width, _ = pixels.shape
    settings = {
        "NoLayers": 1, "NoJpegColumns": columns, "NoJpegRows": 1,
        "PhysicalWidth": round(width * mpp * 1000), "PhysicalHeight": round(height * mpp * 1000),
        "SourceLens": 20, "MapFile": f"{path.stem}_map2.jpg", "MacroImage": f"{path.stem}_macro.jpg",
    }  # fmt: skip
    for column, part in enumerate(np.split(pixels, columns, axis=1)):
        file = f"{path.stem}({column},0).jpg" if column else f"{path.stem}.jpg"
        settings[f"ImageFile({column},0)" if column else "ImageFile"] = file
        _write_jpeg(path.with_name(file), part, tile_px)
    _write_jpeg(path.with_name(str(settings["MapFile"])), pixels[::16, ::16], MCU_PX)
    red = np.full((48, 64, 3), (255, 0, 0), np.uint8)
    _write_jpeg(path.with_name(str(settings["MacroImage"])), red, MCU_PX)
    lines = [
        "[Virtual Microscope Specimen]",
        *(f"{key}={value}" for key, value in settings.items()),
    ]
    path.write_bytes("\r\n".join(lines).encode())


def _write_jpeg(path: Path, pixels: np.ndarray, tile_px: int) -> None:
    Image.fromarray(pixels).save(
        path, quality=95, subsampling="4:2:2", restart_marker_blocks=tile_px // MCU_PX
    )
