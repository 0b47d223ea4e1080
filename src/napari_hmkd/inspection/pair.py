"""Where tiles are read: an H&E slide, and its IHC through an alignment that may be moved at each tile."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import TypeVar

import numpy as np

from napari_hmkd.alignment import Alignment, read_ihc_tile, refine_at
from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Size
from napari_hmkd.inspection.tile import Tile
from napari_hmkd.planning import read_tile
from napari_hmkd.slide import Slide
from napari_hmkd.slide.contents.tissue import MASK_MPP, tissue_in
from napari_hmkd.tiling import TileGrid

_Read = TypeVar("_Read")

_MOST_BEYOND = 0.05  # of a tile: scans of one section end a few px apart


@dataclass(frozen=True, slots=True, eq=False)
class AlignedIhc:
    """An IHC slide, and how it lies over its H&E.

    Attributes
    ----------
    slide : Slide
        Must stay open.
    alignment : Alignment
    refine : bool
        Move the alignment at each tile to where its nuclei fit best, as `refine_at` does.
    """

    slide: Slide
    alignment: Alignment
    refine: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class IhcTile:
    """A tile on the IHC.

    Attributes
    ----------
    pixels : numpy.ndarray
        uint8 (tile_px, tile_px, 3), white outside the slide.
    moved_um : (y, x)
        How far from the H&E's tile the tissue lies there by the slide's alignment, in um on the H&E:
        what `AlignedIhc.refine` has found.
    """

    pixels: np.ndarray
    moved_um: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class StainPair:
    """An H&E slide and, where there is one, the IHC that belongs to it.

    Attributes
    ----------
    he : Slide
        Must stay open.
    grid : TileGrid
        Its tiles, as the student sees them.
    ihc : AlignedIhc or None
    """

    he: Slide
    grid: TileGrid
    ihc: AlignedIhc | None = None

    def read_he(self, tile: Tile) -> np.ndarray:
        """Pixels of a tile: uint8 (tile_px, tile_px, 3).

        Raises
        ------
        SlideReadError
            The slide is damaged there, or does not answer.
        """
        return read_tile(self.he, self.grid, tile)

    def read_ihc(self, tile: Tile) -> IhcTile:
        """The same tissue on the IHC.

        Raises
        ------
        SlideReadError
            The IHC is damaged there, ends before the tissue does, or does not answer.
        PixelSizeError
            The IHC is too coarse.
        ValueError
            There is no IHC.
        """
        if self.ihc is None:
            raise ValueError(f"no IHC belongs to {self.he.name}")
        ihc, grid, here = self.ihc.slide, self.grid, self.ihc.alignment
        if self.ihc.refine:
            here = self._refined(self.ihc, tile)
        self._require_on(ihc, here, tile)
        y, x = grid.origins(tile)[0].tolist()
        pixels = read_ihc_tile(ihc, here, (y, x), grid.slide_mpp, grid.tile_px, grid.model_mpp)
        moved = np.linalg.solve(self.ihc.alignment.affine, here.affine)[:2, 2].tolist()
        return IhcTile(pixels, (moved[0], moved[1]))

    def read(self, tile: Tile) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels of a tile on the H&E and on the IHC, each slide in its own time.

        Raises
        ------
        SlideReadError, PixelSizeError
            As `read_he` and `read_ihc`; `SlideStalledError` names the slide that does not answer.
        """
        he = self.he.in_time(partial(self.read_he, tile))
        if self.ihc is None:
            return he, None
        return he, self.ihc.slide.in_time(partial(self.read_ihc, tile)).pixels

    def in_order(
        self, tiles: Sequence[Tile], ahead: int
    ) -> Generator[tuple[np.ndarray | SlideReadError, IhcTile | SlideReadError | None], None, None]:
        """H&E and IHC of each tile, read `ahead` in the threads of either slide; None without IHC.

        In place of a stain that is damaged there, or of an IHC that ends before, comes the error.

        Raises
        ------
        SlideStalledError
            A slide, which it names, does not answer in time.
        PixelSizeError
            The IHC is too coarse.
        """
        with ExitStack() as reads:
            he = _read_each(self.he, self.read_he, tiles, ahead)
            reads.enter_context(closing(he))
            if self.ihc is None:
                yield from zip(he, repeat(None))
                return
            ihc = _read_each(self.ihc.slide, self.read_ihc, tiles, ahead)
            reads.enter_context(closing(ihc))
            yield from zip(he, ihc, strict=True)

    def _require_on(self, ihc: Slide, alignment: Alignment, tile: Tile) -> None:
        """Refuse a tile whose tissue lies too far beyond the IHC: the teacher would judge white in its place.

        Glass may lie there: scanners choose another field for each slide.
        """
        origin_px = self.grid.origins(tile)[0]
        side = max(1, round(self.grid.tile_um / MASK_MPP))
        mpp = self.grid.tile_um / side
        middles_um = (np.moveaxis(np.indices((side, side)), 0, -1) + 0.5) * mpp
        there_um = alignment.to_ihc(middles_um + origin_px * self.grid.slide_mpp)
        end_um = np.multiply((ihc.size.height, ihc.size.width), ihc.require_mpp())
        beyond = ((there_um < 0) | (there_um > end_um)).any(axis=-1)
        if beyond.mean() <= _MOST_BEYOND:
            return
        lost = (beyond & self._tissue(origin_px, side, mpp)).mean()
        if lost > _MOST_BEYOND:
            raise SlideReadError(
                f"asked to read tile {tile} of '{self.he.name}' on its IHC, but tissue on {lost:.0%} of it lies beyond "
                f"the IHC '{ihc.name}': look at the alignment, or choose an IHC of the whole section"
            )

    def _tissue(self, origin_px: np.ndarray, side: int, mpp: float) -> np.ndarray:
        """Where a tile shows tissue, bool (side, side), found with what lies around: cut off glass is no hole."""
        y, x = (origin_px - side * mpp / np.asarray(self.grid.slide_mpp)).tolist()
        around = self.he.read((y, x), Size(3 * side, 3 * side), mpp)
        return tissue_in(around, mpp)[side : 2 * side, side : 2 * side]

    def _refined(self, ihc: AlignedIhc, tile: Tile) -> Alignment:
        y, x = self.grid.centers(tile)[0].tolist()
        try:
            return refine_at(ihc.alignment, self.he, ihc.slide, (y, x))
        except SlideStalledError:
            raise
        except SlideReadError:  # beside the tile, which may be sound
            return ihc.alignment


def _read_each(
    slide: Slide, read: Callable[[Tile], _Read], tiles: Sequence[Tile], ahead: int
) -> Generator[_Read | SlideReadError, None, None]:
    return slide.in_order((partial(_or_error, read, tile) for tile in tiles), ahead)


def _or_error(read: Callable[[Tile], _Read], tile: Tile) -> _Read | SlideReadError:
    try:
        return read(tile)
    except SlideStalledError:
        raise
    except SlideReadError as error:
        return error
