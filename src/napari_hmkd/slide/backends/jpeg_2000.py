"""What is looked at of JPEG 2000 before it is decoded: OpenJPEG takes memory for whatever its header says."""

from __future__ import annotations

import struct

from napari_hmkd.geometry import Size

_START = b"\xff\x4f\xff\x51"
_SIZE = struct.Struct(">HHIIIIIIIIH")
"""Of the segment SIZ: length, capabilities, the image's right, bottom, left and top edge, a tile's width and
height and the first one's corner, components; the horizontal axis comes first."""

_MOST_TILES = 4096


def require_picture(data: bytes, size: Size, channels: int) -> None:
    """Check that JPEG 2000, plain or HTJ2K, holds a picture that fits a slide's tile.

    Parameters
    ----------
    data : bytes
        The codestream, or a JP2 file around it.
    size : Size
        The slide's tile.
    channels : int
        Its samples per pixel.

    Raises
    ------
    ValueError
        It holds none, a larger one, or one in very many or very large tiles of its own.
    """
    at = data.find(_START)
    if at < 0 or len(data) < at + len(_START) + _SIZE.size:
        raise ValueError("it holds no JPEG 2000 data")
    _, _, right, bottom, left, top, width, height, _, _, found = _SIZE.unpack_from(
        data, at + len(_START)
    )
    across, down = right - left, bottom - top
    if not (0 < across <= size.width and 0 < down <= size.height and found <= channels):
        raise ValueError(f"its JPEG 2000 data hold {down} x {across} px in {found} channels")
    if not width * height or -(-across // width) * -(-down // height) > _MOST_TILES:
        raise ValueError(f"its JPEG 2000 data are in tiles of {height} x {width} px")
