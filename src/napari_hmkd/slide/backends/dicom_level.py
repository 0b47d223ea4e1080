"""One level of a DICOM slide: which frame lies where, and how one is decoded."""

from __future__ import annotations

import imagecodecs
import numpy as np

from napari_hmkd.geometry import Region
from napari_hmkd.slide.backends.dicom_body import DicomBody, frame_corners, read_body
from napari_hmkd.slide.backends.dicom_frames import Frames
from napari_hmkd.slide.backends.dicom_header import DicomHeader
from napari_hmkd.slide.backends.jpeg import decode_jpeg, require_end
from napari_hmkd.slide.backends.protocol import UndecodableError
from napari_hmkd.slide.backends.shared_file import SharedFile
from napari_hmkd.slide.backends.tile_files import StoredGrid, cut

_PLAIN = "1.2.840.10008.1.2.1"
_JPEG = "1.2.840.10008.1.2.4.50"
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_COLOURS = {
    _PLAIN: ("RGB",),
    _JPEG: ("RGB", "YBR_FULL_422"),
    **dict.fromkeys(_JPEG_2000, ("RGB", "YBR_ICT", "YBR_RCT")),  # the data say it, too
}
"""Of each TransferSyntaxUID the PhotometricInterpretation that OpenSlide knows, too."""


class DicomLevel:
    """The frames of a file as tiles; see `StoredTiles`.

    Attributes
    ----------
    slow : bool
        Its codec takes far longer for a tile than a thread for handing it on: that of JPEG 2000.

    Raises
    ------
    SlideError
        The file is truncated.
    UndecodableError
        It is not one plane of 8-bit colour in a coding that is known here.
    OSError
        The system cannot read it.
    """

    channels = 3

    def __init__(self, header: DicomHeader) -> None:
        self.path = str(header.path)
        self.grid = StoredGrid(header.size, header.tile)
        self.slow = header.syntax in _JPEG_2000
        if problem := _coding_problem(header):
            raise UndecodableError(f"{problem}.")
        self._header = header
        body = read_body(header)
        if (body.count is None) == (header.syntax == _PLAIN):
            raise UndecodableError("its pixels are not stored as its transfer syntax says.")
        self._numbers = _numbers(header, self.grid, body)
        self._frames = Frames(header, body)

    def read_part(self, file: SharedFile, index: int, part: Region) -> np.ndarray | None:
        """See `StoredTiles.read_part`."""
        number = index if self._numbers is None else self._numbers.get(index)
        if number is None:
            return None
        return cut(self._decode(self._frames.read(file, number)), part)

    def _decode(self, data: bytes) -> np.ndarray:
        tile = self.grid.tile
        if self._header.syntax == _JPEG:
            return decode_jpeg(data, tile, None, ycbcr=self._header.photometric == "YBR_FULL_422")
        if self.slow:
            require_end(data)
            return np.asarray(imagecodecs.jpeg2k_decode(data))
        return np.frombuffer(data, np.uint8).reshape(tile.height, tile.width, 3)


def _coding_problem(header: DicomHeader) -> str | None:
    """Why its frames are left to OpenSlide, or None."""
    if header.layers != 1:
        return "it has several focal planes or optical paths"
    if header.photometric not in _COLOURS.get(header.syntax, ()):
        return f"its colours are stored as {header.photometric} in {header.syntax}"
    return None


def _numbers(header: DicomHeader, grid: StoredGrid, body: DicomBody) -> dict[int, int] | None:
    """Which frame each tile is; None where tile and frame have the same number."""
    if header.organization == "TILED_FULL":
        if header.frames != grid.rows * grid.columns:
            raise UndecodableError(
                f"it has {header.frames:,} frames in place of {grid.rows * grid.columns:,}."
            )
        return None
    if header.organization != "TILED_SPARSE":
        raise UndecodableError(f"its frames are laid out as '{header.organization}'.")
    y, x = frame_corners(header, body)
    height, width = grid.tile.height, grid.tile.width
    aligned = not (y % height).any() and not (x % width).any()
    inside = (
        y.min() >= 0 and x.min() >= 0 and y.max() < grid.size.height and x.max() < grid.size.width
    )
    tiles = (y // height * grid.columns + x // width).tolist()
    numbers = {tile: frame for frame, tile in enumerate(tiles)}
    if not (aligned and inside and len(numbers) == header.frames):
        raise UndecodableError("its frames overlap, or lie beside one another in no grid.")
    return numbers
