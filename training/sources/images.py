"""Image files: their sizes and their pixels."""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from napari_hmkd.errors import DataError

# What Pillow raises for files that are no image, broken, or of an absurd size.
UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    TypeError,  # of a TIFF whose second picture lacks its size
    ValueError,
    struct.error,
    Image.DecompressionBombError,
)
# Pillow's names for 16 bits to a channel as they lie in a file; BGR;16 has as many to a pixel.
SIXTEEN_BITS = re.compile(r"(?<!BGR);16")


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
        raise DataError(
            f"{path} cannot be read as an image ({error}): replace or remove it"
        ) from error


def decode(path: Path) -> NDArray[np.uint8]:
    """An image as (height, width, 3) uint8, whatever its suffix claims; its alpha is laid on white.

    It is turned as viewers show it, since the other stain of its pair may be stored that way.

    Raises
    ------
    DataError
        If the file is no image, is cut short, holds several, or has more than 8 bits to a channel, as
        grey images, PNG and TIFF can.
    """
    try:
        with Image.open(path) as image:
            if (bits := _bits(image)) > 8:
                raise DataError(
                    f"{path} cannot be used: its channels have {bits} bits, and 8-bit RGB is needed: "
                    "save it with 8 bits to a channel"
                )
            if (stacked := _stacked(image)) > 1:
                raise DataError(
                    f"{path} cannot be used: it holds {stacked} pictures of one size, such as the "
                    "channels of a stack: save it as one picture in RGB"
                )
            ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(_on_white(image))
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be decoded ({error}): replace or remove it") from error


def _bits(image: ImageFile.ImageFile) -> int:
    """Bits to a channel in the file, of which Pillow would keep the upper 8 without a word."""
    if isinstance(image, TiffImageFile):
        # Raw modes of planes that lie apart name none.
        return max(image.tag_v2.get(BITSPERSAMPLE, (1,)))
    modes = str([image.mode, *(args for *_, args in image.tile)])
    if SIXTEEN_BITS.search(modes):
        return 16
    return 32 if image.mode in ("I", "F") else 8


def _stacked(image: ImageFile.ImageFile) -> int:
    """How many pictures of one size it holds; the smaller ones of a pyramid do not count."""
    count = getattr(image, "n_frames", 1)
    if count == 1:
        return 1
    size = image.size
    image.seek(1)
    second = image.size
    image.seek(0)
    return count if second == size else 1


def _on_white(image: Image.Image) -> Image.Image:
    """As RGB; what is transparent shows white glass, as a slide's does."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    glass = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(glass, image.convert("RGBA")).convert("RGB")


def pixel_digest(pixels: NDArray[np.uint8]) -> bytes:
    """16 bytes that are equal for pictures of equal size and pixels."""
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16)
    digest.update(repr(pixels.shape).encode())
    return digest.digest()
