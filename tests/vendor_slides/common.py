"""What all slides that are written here have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

MPP = 0.5
TILE_PX = 64
JPEG: dict[str, Any] = {
    "photometric": "rgb",
    "compression": "jpeg",
    "compressionargs": {"level": 95},
    "subsampling": (1, 1),
    "metadata": None,
}
TILES: dict[str, Any] = JPEG | {"tile": (TILE_PX, TILE_PX)}


def reduced(pixels: np.ndarray, step: int) -> np.ndarray:
    """Means of whole squares of so many pixels, uint8 (height // step, width // step, 3)."""
    height, width, channels = pixels.shape
    rows, columns = height // step, width // step
    squares = pixels[: rows * step, : columns * step].reshape(rows, step, columns, step, channels)
    return squares.mean(axis=(1, 3)).round().astype(np.uint8)
