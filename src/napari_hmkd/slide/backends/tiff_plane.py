"""One plane of one level of a TIFF: where its tiles or strips lie, and how one is decoded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tifffile

from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide.backends.jpeg import decode_grey_jpeg, decode_jpeg, require_end
from napari_hmkd.slide.backends.jpeg_2000 import require_picture
from napari_hmkd.slide.backends.shared_file import SharedFile
from napari_hmkd.slide.backends.tile_files import StoredGrid, cut

_JPEG = tifffile.COMPRESSION.JPEG
_YCBCR = tifffile.PHOTOMETRIC.YCBCR
_JPEG_2000 = (
    tifffile.COMPRESSION.APERIO_JP2000_RGB,
    tifffile.COMPRESSION.JPEG2000,
    tifffile.COMPRESSION.JPEG_2000_LOSSY,
)
_CHEAP_GAP_BYTES = 2**14
"""Up to so many unwanted bytes between two rows are read: less work than a read for each row."""


class TiffPlane:
    """Some channels of a level: a page, or one plane of a page that stores planes apart.

    Attributes
    ----------
    path : str
        The file that holds the page; an OME-TIFF can consist of several.
    grid : StoredGrid
        The tiles or strips that store the level; those of a further plane follow the others.
    channels : int
        Samples per pixel in this plane.
    has_rows : bool
        The pixels lie row by row as they are, so that `read_rows` takes what is wanted alone.
    slow : bool
        Its codec takes far longer for a tile than a thread for handing it on: all but JPEG's does.
    """

    def __init__(
        self, page: tifffile.TiffPage, keyframe: tifffile.TiffPage, plane: int = 0
    ) -> None:
        self._page, self._keyframe = page, keyframe
        self.path: str = page.parent.filehandle.path
        size = Size(keyframe.imagelength, keyframe.imagewidth)
        if keyframe.is_tiled:
            tile = Size(keyframe.tilelength, keyframe.tilewidth)
        else:
            tile = Size(min(keyframe.rowsperstrip, size.height), size.width)
        grid = StoredGrid(size, tile)
        self.grid = replace(grid, first=plane * grid.rows * grid.columns)
        self.channels: int = keyframe.samplesperpixel if keyframe.planarconfig == 1 else 1
        self.has_rows = stores_rows(keyframe)
        self.slow = keyframe.compression not in (tifffile.COMPRESSION.NONE, _JPEG)
        _note_jfif(keyframe)

    def read_part(self, file: SharedFile, index: int, part: Region) -> np.ndarray | None:
        """See `StoredTiles.read_part`."""
        offset, count = self.stored_at(index)
        if not count:
            return None
        if self.has_rows:
            return self.read_rows(file, index, part)
        return cut(self.decode(file.read(offset, count), index), part)

    def stored_at(self, index: int) -> tuple[int, int]:
        """Offset and number of bytes of a tile; no bytes where the file leaves it out."""
        return int(self._page.dataoffsets[index]), int(self._page.databytecounts[index])

    def read_rows(self, file: SharedFile, index: int, part: Region) -> np.ndarray:
        """Pixels of an uncompressed strip, of which no more is read than about those wanted.

        Parameters
        ----------
        file : SharedFile
            The one at `path`.
        index : int
            The strip's.
        part : Region
            What is wanted, counted from the strip's top left corner.

        Returns
        -------
        uint8 (part.height, part.width, channels)

        Raises
        ------
        ValueError
            The strip is stored with fewer rows than the image has there, or the file ends in it.
        """
        start, count = self.stored_at(index)
        stride, wanted = self.grid.size.width * self.channels, part.width * self.channels
        if part.bottom * stride > count:
            raise ValueError(f"it holds {count // stride} rows in place of {part.bottom}")
        first = start + part.y * stride + part.x * self.channels
        if stride - wanted <= _CHEAP_GAP_BYTES:
            data = file.read(first, (part.height - 1) * stride + wanted)
        else:
            data = b"".join(file.read(first + row * stride, wanted) for row in range(part.height))
            stride = wanted
        shape = (part.height, part.width, self.channels)
        return np.ndarray(shape, np.uint8, data, strides=(stride, self.channels, 1))

    def decode(self, data: bytes, index: int) -> np.ndarray:
        """Pixels of a tile, uint8 (height, width, channels); a tile at the edge may be cut.

        Raises
        ------
        ValueError
            Its JPEG data are damaged. Codecs raise further classes on other damage.
        """
        frame = self._keyframe
        if frame.compression == _JPEG and frame.jpegheader is None:
            tile, tables = self.grid.tile, frame.jpegtables
            if self.channels == 1:  # tifffile takes one plane of RGB for all three
                return decode_grey_jpeg(data, tile, tables)
            if self.channels == 3:
                return decode_jpeg(data, tile, tables, ycbcr=frame.photometric == _YCBCR)
        if frame.compression in (_JPEG, *_JPEG_2000):
            require_end(data)
        if frame.compression in _JPEG_2000:
            require_picture(data, self.grid.tile, self.channels)
        pixels, _, _ = frame.decode(
            data, index, jpegtables=frame.jpegtables, jpegheader=frame.jpegheader
        )
        return np.asarray(pixels)[0]


def _note_jfif(page: tifffile.TiffPage) -> None:
    """Have tifffile look into the first tile now: its decoder asks when the file is closed."""
    file = page.parent.filehandle
    closed = file.closed  # that of another file of an OME-TIFF is
    if closed:
        file.open()
    try:
        _ = page.is_jfif
    finally:
        if closed:
            file.close()


def stores_rows(page: tifffile.TiffPage) -> bool:
    """Whether a page of 8-bit samples is stored as plain rows: in strips, with nothing done to them."""
    return bool(
        page.compression == tifffile.COMPRESSION.NONE
        and not page.is_tiled
        and page.bitspersample == 8
        and page.fillorder == 1
        and page.predictor == 1
    )


def planes_of(level: tifffile.TiffPageSeries) -> list[TiffPlane]:
    """The planes whose channels, one after the other, make up a level's pixels."""
    keyframe = level.keyframe
    if len(level.pages) > 1:  # one page for each channel
        return [TiffPlane(page, keyframe) for page in level.pages]
    page = level.pages[0]
    if keyframe.planarconfig == 1:
        return [TiffPlane(page, keyframe)]
    return [TiffPlane(page, keyframe, plane) for plane in range(keyframe.samplesperpixel)]
