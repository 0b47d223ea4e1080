"""OpenSlide's pixels as RGB.

OpenSlide decodes to premultiplied ARGB, of which its Python binding makes RGBA, nearly always opaque.
Where a tile is cheap to decode, RGBA and the way back from it cost as much again: the buffer is taken
as OpenSlide fills it. The binding's two names for that are not public; without them the pixels are the
same, and come later.
"""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import openslide
from openslide import lowlevel

from napari_hmkd.slide.backends.protocol import flatten_on_white

_OPAQUE = 0xFF000000
_RGBA = [2, 1, 0, 3] if sys.byteorder == "little" else [1, 2, 3, 0]
"""Where red, green, blue and alpha lie in the bytes of ARGB."""


def read_rgb(
    handle: openslide.OpenSlide, corner: tuple[int, int], level: int, size: tuple[int, int]
) -> np.ndarray:
    """Pixels on a white ground.

    Parameters
    ----------
    handle : openslide.OpenSlide
    corner : tuple of int
        (x, y) of the region in level-0 pixels, as OpenSlide takes it.
    level : int
    size : tuple of int
        (width, height) in the level's pixels, neither of them 0.

    Returns
    -------
    uint8 (height, width, 3)

    Raises
    ------
    openslide.OpenSlideError
        OpenSlide cannot read the region.
    """
    argb = _read_argb(handle, corner, level, size)
    if argb is None:
        return flatten_on_white(np.asarray(handle.read_region(corner, level, size)))
    bytes_ = argb.view(np.uint8).reshape(*argb.shape, 4)
    if argb.min() < _OPAQUE:
        return flatten_on_white(bytes_[..., _RGBA], premultiplied=True)
    pixels = np.empty((*argb.shape, 3), np.uint8)
    for channel, source in enumerate(_RGBA[:3]):
        pixels[..., channel] = bytes_[..., source]
    return pixels


def _read_argb(
    handle: openslide.OpenSlide, corner: tuple[int, int], level: int, size: tuple[int, int]
) -> np.ndarray | None:
    """What OpenSlide fills, uint32 (height, width); None where the binding has other names for it."""
    slide, read = vars(handle).get("_osr"), vars(lowlevel).get("_read_region")
    if slide is None or read is None:
        return None
    argb = np.empty(size[::-1], np.uint32)
    read(slide, argb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32)), *corner, level, *size)
    return argb
