"""Smaller copies of an image, as scanners make them."""

from __future__ import annotations

import numpy as np


def reduced(pixels: np.ndarray, step: int) -> np.ndarray:
    """Means of whole squares of so many pixels, uint8 (height // step, width // step, 3)."""
    height, width, channels = pixels.shape
    rows, columns = height // step, width // step
    squares = pixels[: rows * step, : columns * step].reshape(rows, step, columns, step, channels)
    return squares.mean(axis=(1, 3)).round().astype(np.uint8)
