"""Image files: their sizes and their pixels."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_hmkd.errors import DataError

# What Pillow raises for files that are no image, broken, or of an absurd size.
UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    Image.DecompressionBombError,
)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image in px, from its header alone.

    Raises
    ------
    DataError
        If the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as an image: replace or remove it") from error


def decode(path: Path) -> NDArray[np.uint8]:
    """An image as (height, width, 3) uint8, whatever its suffix claims.

    Raises
    ------
    DataError
        If the file is no image, is cut short, or has more than 8 bits to a channel.
    """
    try:
        with Image.open(path) as image:
            # Pillow would clip 16-bit and floating-point pixels without a word.
            if image.mode.startswith(("I", "F")):
                raise DataError(
                    f"{path} cannot be used: its pixels are {image.mode}, and 8-bit RGB is needed"
                )
            return np.asarray(image.convert("RGB"))
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be decoded ({error}): replace or remove it") from error


def pixel_digest(pixels: NDArray[np.uint8]) -> bytes:
    """16 bytes that are equal for pictures of equal size and pixels."""
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16)
    digest.update(repr(pixels.shape).encode())
    return digest.digest()
