"""RLE Lossless of DICOM: its segments are found here, as a damaged header can end the process in imagecodecs."""

from __future__ import annotations

from itertools import pairwise

import imagecodecs
import numpy as np

from napari_hmkd.geometry import Size

_HEADER_BYTES = 64
_CHANNELS = 3


def decode_rle(data: bytes, size: Size) -> np.ndarray:
    """Pixels of a frame of 8-bit colours, one segment for each channel.

    Parameters
    ----------
    data : bytes
        The frame as the file stores it.
    size : Size
        Of the frame.

    Returns
    -------
    uint8 (height, width, 3)

    Raises
    ------
    ValueError
        The data are damaged.
    """
    if len(data) < _HEADER_BYTES:
        raise ValueError(f"its RLE data have {len(data)} bytes")
    count, *starts = np.frombuffer(data, "<u4", _HEADER_BYTES // 4).tolist()
    edges = [*starts[:_CHANNELS], len(data)]
    if count != _CHANNELS or edges[0] < _HEADER_BYTES or sorted(edges) != edges:
        raise ValueError("the header of its RLE data is damaged")
    channels = [
        np.frombuffer(imagecodecs.packbits_decode(data[start:end]), np.uint8)
        for start, end in pairwise(edges)
    ]
    wanted = size.height * size.width
    if min(map(len, channels)) < wanted:
        raise ValueError("its RLE data break off")
    planes = [channel[:wanted].reshape(size.height, size.width) for channel in channels]
    return np.stack(planes, axis=-1)
