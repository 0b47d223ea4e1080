"""The tiles or strips under a region, read from their files, decoded, and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide.backends.shared_file import FileClosedError, SharedFile


@dataclass(frozen=True, slots=True)
class StoredGrid:
    """A level of `size` in tiles, numbered row by row from `first` on; those at the edge overhang."""

    size: Size
    tile: Size
    first: int = 0

    @property
    def rows(self) -> int:
        """How many tiles lie below one another."""
        return -(-self.size.height // self.tile.height)

    @property
    def columns(self) -> int:
        """How many tiles lie side by side."""
        return -(-self.size.width // self.tile.width)

    def under(self, region: Region) -> list[tuple[int, Region, tuple[slice, slice]]]:
        """What each tile that touches a region has for it.

        Parameters
        ----------
        region : Region
            Inside the level.

        Returns
        -------
        list of tuple
            The tile's index, the part of it, counted from the tile's top left corner, and where that
            lies in an array of the region's pixels.
        """
        across = self.columns
        rows = _along(region.y, region.bottom, self.tile.height)
        columns = _along(region.x, region.right, self.tile.width)
        return [
            (self.first + row * across + column, Region(y, x, height, width), (down, right))
            for (row, y, height, down), (column, x, width, right) in product(rows, columns)
        ]


def _along(start: int, stop: int, side: int) -> list[tuple[int, int, int, slice]]:
    """The same along one axis: a tile's number, its first pixel, how many, and where they lie."""
    found = []
    for number in range(start // side, -(-stop // side)):
        edge = number * side
        first, last = max(start, edge), min(stop, edge + side)
        found.append((number, first - edge, last - first, slice(first - start, last - start)))
    return found


class StoredTiles(Protocol):
    """Some channels of a level, as a file stores them.

    Attributes
    ----------
    path : str
        The file.
    grid : StoredGrid
        How the level is cut.
    channels : int
        Samples per pixel.
    """

    path: str
    grid: StoredGrid
    channels: int

    def read_part(self, file: SharedFile, index: int, part: Region) -> np.ndarray | None:
        """Pixels of a part of a tile, which is counted from the tile's top left corner.

        Parameters
        ----------
        file : SharedFile
            The one at `path`.
        index : int
            The tile's.
        part : Region

        Returns
        -------
        uint8 (part.height, part.width, channels), or None where the file leaves the tile out.

        Raises
        ------
        OSError
            The system cannot read the file.
        FileClosedError
            The file was closed.
        Exception
            The tile is damaged; codecs raise what they like.
        """
        ...


class TileFiles:
    """The files of a slide's levels.

    Parameters
    ----------
    path : Path
        The slide's, for messages.
    levels : sequence of sequences of StoredTiles
        Of each level the parts whose channels, one after the other, make up its pixels.
    """

    def __init__(self, path: Path, levels: Sequence[Sequence[StoredTiles]]) -> None:
        self._name = path.name
        self._levels = levels
        paths = {stored.path for parts in levels for stored in parts}
        self._files = {path: SharedFile(path) for path in paths}

    def read(self, level: int, region: Region) -> np.ndarray:
        """See `Backend.read`; uint8 (height, width, channels), white where a tile was left out."""
        parts = [self._read_channels(level, stored, region) for stored in self._levels[level]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def _read_channels(self, level: int, stored: StoredTiles, region: Region) -> np.ndarray:
        tiles = stored.grid.under(region)
        if len(tiles) == 1:  # it needs no second copy
            index, part, _ = tiles[0]
            piece = self._read_piece(level, stored, index, part)
            if piece is not None:
                return np.ascontiguousarray(piece)
        pixels = np.empty((region.height, region.width, stored.channels), np.uint8)
        for index, part, inside in tiles:
            piece = self._read_piece(level, stored, index, part)
            pixels[inside] = 255 if piece is None else piece  # left out by the writer: blank glass
        return pixels

    def _read_piece(
        self, level: int, stored: StoredTiles, index: int, part: Region
    ) -> np.ndarray | None:
        """Part of a tile or strip, (height, width, channels); None if the file has none."""
        try:
            return stored.read_part(self._files[stored.path], index, part)
        except FileClosedError as error:
            raise SlideReadError(f"'{self._name}' cannot be read: {error}.") from error
        except OSError as error:  # the system's: no codec raises it
            raise SlideStalledError(
                f"'{self._name}' cannot be read any more: {error.strerror or error}. Its disk or "
                "network may be down: look whether the file can be copied, and try again."
            ) from error
        except Exception as error:  # codecs raise what they like on damaged data
            raise SlideReadError(
                f"'{self._name}', level {level}, tile {index} cannot be read: {error}. "
                "That part of the file is damaged; other parts may be sound."
            ) from error

    def close(self) -> None:
        """See `Backend.close`."""
        for file in self._files.values():
            file.close()


def cut(tile: np.ndarray, part: Region) -> np.ndarray:
    """A part of a decoded tile, (height, width, channels).

    Raises
    ------
    ValueError
        The tile is too small; the rest of the part would pass for glass.
    """
    piece = tile[part.y : part.bottom, part.x : part.right]
    if piece.shape[:2] != (part.height, part.width):
        raise ValueError(f"it holds {tile.shape[0]} x {tile.shape[1]} px, which is too few")
    return piece
