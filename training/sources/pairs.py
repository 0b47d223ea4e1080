"""What was found in a data set, before it is judged; and the source that it becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.training.console import tracked
from napari_hmkd.training.parallel import in_threads, side_by_side
from napari_hmkd.training.run import file_digest
from napari_hmkd.training.sources.images import decode, image_size
from napari_hmkd.training.tiles import TILE_MULTIPLE_PX, Tile
from napari_hmkd.wording import RESEARCH_ONLY, counted


@dataclass(frozen=True, slots=True)
class Pair:
    """A tile and its two files; `where` is the line of the manifest that lists them."""

    tile: Tile
    he: Path
    ihc: Path
    where: str = ""

    def files(self) -> tuple[Path, Path]:
        """H&E, then IHC."""
        return self.he, self.ihc

    def names(self) -> tuple[str, str]:
        """Both files, each with the line of the manifest behind it."""
        line = f" ({self.where})" if self.where else ""
        return f"{self.he}{line}", f"{self.ihc}{line}"

    def said(self, text: object) -> str:
        """A text about the pair, behind the line of the manifest."""
        return f"{self.where}: {text}" if self.where else str(text)


@dataclass(frozen=True)
class Scan:
    """The pairs of a folder or manifest, and all that keeps it from being used as it is.

    `origin` is what DATA names, `kind` its layout, `mpp` the pixel size in um/px where the layout
    implies it. `notes` are what a reader of the numbers has to know about such data.
    """

    kind: str
    origin: Path
    pairs: tuple[Pair, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    mpp: float | None = None


class PairSource:
    """The pairs of a scan as a source of tiles.

    Parameters
    ----------
    scan : Scan
        Its first problem is raised.
    mpp : float
        Pixel size in um/px.
    labels : str
        What the grades are, for the model card.

    Raises
    ------
    DataError
        If the scan has a problem or no pair, a file is no image, or sizes differ.
    """

    notice = RESEARCH_ONLY
    renders = False

    def __init__(self, scan: Scan, mpp: float, labels: str) -> None:
        if scan.problems:
            more = len(scan.problems) - 1
            others = f" ({counted(more, 'more problem')}: list all with check-data)" if more else ""
            raise DataError(scan.problems[0] + others)
        self.pairs = scan.pairs
        self.tiles: Sequence[Tile] = tuple(pair.tile for pair in scan.pairs)
        self.mpp = mpp
        self.tile_px = _common_side(scan.pairs)
        self.training_data = (
            f"{counted(len(scan.pairs), 'tile pair')} of {scan.origin.name}, {scan.kind}, {mpp:g} um/px, "
            f"labels: {labels}"
        )
        stamps = ";".join(_stamp(path) for pair in scan.pairs for path in pair.files())
        self.identity = f"pairs {self.tile_px} {stamps}"

    @cached_property
    def signature(self) -> str:
        """Names of the tiles, and a digest of each one's files.

        Sizes would miss a picture that was painted over, and times differ after a copy. Reading takes
        0.3 ms of a core for a picture of BCI, a thirtieth of decoding it.

        Raises
        ------
        DataError
            If a file cannot be read.
        """
        found = list(tracked(in_threads(_digests, self.pairs), "Reading files", len(self.pairs)))
        return f"pairs {self.tile_px} {';'.join(found)}"

    def read(self, index: int) -> NDArray[np.uint8]:
        """One pair, (2, tile_px, tile_px, 3) uint8: H&E, then IHC.

        Raises
        ------
        DataError
            If a file cannot be decoded.
        """
        pair = self.pairs[index]
        try:
            return np.stack([decode(path) for path in pair.files()])
        except DataError as error:
            raise DataError(pair.said(error)) from error

    def names(self, index: int) -> tuple[str, str]:
        """The files of H&E and IHC, with the manifest's line."""
        return self.pairs[index].names()


def size_problem(size: tuple[int, int], common: tuple[int, int]) -> str | None:
    """What is wrong with a picture of this (height, width) among others of a common one."""
    if size == common and size[0] == size[1] and size[0] % TILE_MULTIPLE_PX == 0:
        return None
    return (
        f"is {size[0]} x {size[1]} px (height x width): all tiles must be squares of one size "
        f"(here {common[0]} x {common[1]}) with a side that is a multiple of {TILE_MULTIPLE_PX} px"
    )


def _common_side(pairs: Sequence[Pair]) -> int:
    files = [(pair, path) for pair in pairs for path in pair.files()]
    if not files:
        raise DataError("a source of tiles needs at least one pair")
    sizes = side_by_side(_size_of, files)
    ((common, _),) = Counter(sizes).most_common(1)
    for (pair, path), size in zip(files, sizes, strict=True):
        if wrong := size_problem(size, common):
            raise DataError(pair.said(f"{path} {wrong}"))
    return common[0]


def _size_of(file: tuple[Pair, Path]) -> tuple[int, int]:
    pair, path = file
    try:
        return image_size(path)
    except DataError as error:
        raise DataError(pair.said(error)) from error


def _digests(pair: Pair) -> str:
    try:
        return f"{pair.tile.name}:{','.join(map(file_digest, pair.files()))}"
    except OSError as error:
        raise DataError(
            pair.said(f"{error}: give back what has gone, or remove it from the data")
        ) from error


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{path.resolve()}:{found.st_size}-{found.st_mtime_ns}"
