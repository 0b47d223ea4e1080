"""JPEG tiles of a TIFF, decoded by libjpeg-turbo so that damage is an error, not a picture.

libjpeg warns of damaged data and makes up the rest, and most bindings do not pass the warning on.
`simplejpeg` does. Of tiles whose data were overwritten with 64 random bytes it refused 90 %,
OpenSlide 85 % (40 tiles of an Aperio slide); with zeros, both refused all.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

from napari_hmkd.geometry import Size

_START, _APP0, _APP14 = b"\xff\xd8", b"\xff\xe0", b"\xff\xee"


def decode_jpeg(data: bytes, size: Size, tables: bytes | None, ycbcr: bool) -> np.ndarray:
    """Pixels of a tile.

    Parameters
    ----------
    data : bytes
        The tile as the TIFF stores it; abbreviated, where the TIFF has `tables`.
    size : Size
        Of the tile: most pixels that the data may hold.
    tables : bytes, optional
        The TIFF's JPEGTables.
    ycbcr : bool
        Whether the colours are stored as YCbCr, as the TIFF's PhotometricInterpretation says; a JPEG
        stream inside a TIFF need not say so itself.

    Returns
    -------
    uint8 (height, width, 3), RGB; a strip at the lower edge can be lower than the others.

    Raises
    ------
    ValueError
        The data are damaged, or say that they hold a larger picture.
    """
    if not data.startswith(_START):
        raise ValueError("it holds no JPEG data")
    middle = tables[2:-2] if tables else b""
    # A JFIF header would say YCbCr, whatever follows.
    body = data[2:]
    if not ycbcr and body.startswith(_APP0):
        body = body[2 + int.from_bytes(body[2:4], "big") :]
    stream = b"".join((_START, _adobe(ycbcr), middle, body))
    pixels = np.empty((size.height, size.width, 3), np.uint8)  # what does not fit is refused
    decoded: np.ndarray = simplejpeg.decode_jpeg(stream, buffer=pixels)
    if decoded.shape[1] != size.width:
        height, width, _ = decoded.shape
        raise ValueError(f"it holds {height} x {width} px in place of {size.height} x {size.width}")
    return decoded


def _adobe(ycbcr: bool) -> bytes:
    """Adobe's marker segment, which tells libjpeg the colour transform."""
    payload = b"Adobe" + bytes((0, 100, 0, 0, 0, 0, int(ycbcr)))
    return _APP14 + (2 + len(payload)).to_bytes(2, "big") + payload
