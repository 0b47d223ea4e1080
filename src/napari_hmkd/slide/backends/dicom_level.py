"""One level of a DICOM slide: which frame lies where, and how one is decoded."""

from __future__ import annotations

import imagecodecs
import numpy as np
from pydicom.uid import UID

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region
from napari_hmkd.slide.backends.dicom_body import DicomBody, frame_corners, read_body
from napari_hmkd.slide.backends.dicom_frames import Frames
from napari_hmkd.slide.backends.dicom_header import IMPLICIT, DicomHeader
from napari_hmkd.slide.backends.dicom_rle import decode_rle
from napari_hmkd.slide.backends.jpeg import decode_jpeg, require_end
from napari_hmkd.slide.backends.jpeg_2000 import require_picture
from napari_hmkd.slide.backends.protocol import UndecodableError
from napari_hmkd.slide.backends.shared_file import SharedFile
from napari_hmkd.slide.backends.tile_files import StoredGrid, cut

_PLAIN = "1.2.840.10008.1.2.1"
_UNCOMPRESSED = (IMPLICIT, _PLAIN)
_RLE = "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4.50"
_JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_HTJ2K = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_XL = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112))
_COLOURS = {
    IMPLICIT: ("RGB",),
    _PLAIN: ("RGB",),
    _RLE: ("RGB",),
    _JPEG: ("RGB", "YBR_FULL_422", "YBR_FULL"),
    **dict.fromkeys((*_JPEG_LOSSLESS, *_JPEG_LS), ("RGB",)),
    **dict.fromkeys((*_JPEG_2000, *_HTJ2K), ("RGB", "YBR_ICT", "YBR_RCT")),  # the data say it, too
    **dict.fromkeys(_JPEG_XL, ("RGB", "YBR_FULL", "YBR_FULL_422", "XYB")),  # as the data do here
}
"""Of each TransferSyntaxUID the PhotometricInterpretation that is known here."""

_OF_OPENSLIDE = (_PLAIN, _JPEG, *_JPEG_2000)


class DicomLevel:
    """The frames of a file as tiles; see `StoredTiles`.

    Attributes
    ----------
    slow : bool
        Its codec takes far longer for a tile than a thread for handing it on.
    openslide_knows : bool
        OpenSlide has its codec, too, and takes its colours for what they are.

    Raises
    ------
    SlideError
        The file is truncated, or holds no 8-bit colours.
    UndecodableError
        It is not one plane in a coding that is known here.
    OSError
        The system cannot read it.
    """

    channels = 3

    def __init__(self, header: DicomHeader) -> None:
        self.path = str(header.path)
        self.grid = StoredGrid(header.size, header.tile)
        self.slow = header.syntax not in (*_UNCOMPRESSED, _RLE, _JPEG)
        self.openslide_knows = header.syntax in _OF_OPENSLIDE and header.photometric != "YBR_FULL"
        if problem := _content_problem(header):
            raise SlideError(
                f"'{header.path}' is no slide that can be graded: {problem}. Needed is an 8-bit RGB "
                "image (brightfield, one plane); export it as such."
            )
        if problem := _coding_problem(header):
            raise UndecodableError(f"{problem}.")
        self._header = header
        body = read_body(header)
        if (body.count is None) == (header.syntax in _UNCOMPRESSED):
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
        tile, syntax = self.grid.tile, self._header.syntax
        if syntax in (_JPEG, *_JPEG_LOSSLESS):
            return decode_jpeg(data, tile, None, ycbcr=self._header.photometric != "RGB")
        if syntax in _UNCOMPRESSED:
            return np.frombuffer(data, np.uint8).reshape(tile.height, tile.width, 3)
        if syntax == _RLE:
            return decode_rle(data, tile)
        fitting = np.empty((tile.height, tile.width, 3), np.uint8)  # a larger picture is refused
        if syntax in _JPEG_XL:
            return np.asarray(imagecodecs.jpegxl_decode(data, out=fitting))
        require_end(data)  # over what breaks off CharLS can work for seconds
        if syntax in _JPEG_LS:
            return np.asarray(imagecodecs.jpegls_decode(data, out=fitting))
        require_picture(data, tile, 3)
        pixels = imagecodecs.jpeg2k_decode(data)
        if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
            raise ValueError(f"it holds {pixels.dtype} of shape {pixels.shape}")
        return pixels


def _content_problem(header: DicomHeader) -> str | None:
    """Why it is not 8-bit colour, or None."""
    if header.bits != 8 or header.used_bits != 8:
        return f"its pixels have {header.used_bits} bits per channel"
    if header.signed:
        return "its pixels are signed numbers"
    if header.samples == 1:
        return f"it is a grey image ({header.photometric})"
    return None if header.samples == 3 else f"it has {header.samples} channels"


def _coding_problem(header: DicomHeader) -> str | None:
    """Why its frames are left to OpenSlide, or None."""
    if header.layers != 1:
        return "it has several focal planes or optical paths"
    if header.planar and header.syntax in _UNCOMPRESSED:
        return "its colours are stored plane by plane"
    if header.photometric not in _COLOURS.get(header.syntax, ()):
        return f"its colours are stored as {header.photometric} in {UID(header.syntax).name}"
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
