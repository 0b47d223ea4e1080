"""Folders of tiles in the layout of BCI."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_hmkd.errors import DataError
from napari_hmkd.training.tiles import GRADE_NAMES, RESEARCH_NOTICE, TILE_MULTIPLE_PX, Tile

PARTS = ("train", "test")
# What Pillow raises for files that are no image, broken, or of an absurd size.
UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError)


class BciFolder:
    """Pairs in BCI's layout: HE/train, IHC/train, HE/test, IHC/test, grade in the file's name.

    BCI (Liu et al., CVPR-W 2022): 1024 px at about 0.46 um/px. The grade is the whole slide's,
    and the names tell neither slide nor patient.

    Parameters
    ----------
    folder : Path
        The folder that holds HE and IHC.
    parts : sequence of str
        Which of "train" and "test" to take.

    Raises
    ------
    DataError
        If the folder holds no tiles, a file lacks its partner or grade, or sizes differ.
    """

    mpp = 0.46
    notice = RESEARCH_NOTICE
    renders = False

    def __init__(self, folder: Path, parts: Sequence[str] = PARTS) -> None:
        self.folder = folder
        found = [tile for part in parts for tile in _tiles_of(folder, part)]
        if not found:
            wanted = " or ".join(f"HE/{part} and IHC/{part}" for part in parts)
            raise DataError(
                f"no tiles in {folder}: expected the folders {wanted} with the same file names in "
                "both stains"
            )
        self.tiles: Sequence[Tile] = tuple(found)
        self.tile_px = self._common_side()
        self.training_data = f"{len(found)} tile pairs in BCI layout, folder {folder.name}"
        stamps = ";".join(f"{tile.name}:{self._stamp(tile)}" for tile in found)
        self.identity = f"bci {folder.resolve()} {self.tile_px} {stamps}"

    def paths(self, tile: Tile) -> tuple[Path, Path]:
        """The tile's H&E and IHC files."""
        return self.folder / "HE" / tile.name, self.folder / "IHC" / tile.name

    def read(self, index: int) -> NDArray[np.uint8]:
        """One pair, (2, tile_px, tile_px, 3) uint8: H&E, then IHC."""
        return np.stack([_decode(path) for path in self.paths(self.tiles[index])])

    def _stamp(self, tile: Tile) -> str:
        return ",".join(
            f"{s.st_size}-{s.st_mtime_ns}" for s in (p.stat() for p in self.paths(tile))
        )

    def _common_side(self) -> int:
        first = None
        for path in (path for tile in self.tiles for path in self.paths(tile)):
            size = _image_size(path)
            first = first or size
            if size != first or size[0] != size[1] or size[0] % TILE_MULTIPLE_PX:
                raise DataError(
                    f"{path} is {size[1]} x {size[0]} px (height x width): all tiles must be "
                    f"squares of one size (the first is {first[1]} x {first[0]}) with a side that "
                    f"is a multiple of {TILE_MULTIPLE_PX} px"
                )
        assert first is not None
        return first[0]


def _tiles_of(folder: Path, part: str) -> list[Tile]:
    """The tiles of one part, sorted by name; empty where the part has no folder."""
    he, ihc = ({p.name for p in _files(folder / stain / part)} for stain in ("HE", "IHC"))
    if unpaired := sorted(he ^ ihc):
        shown = ", ".join(unpaired[:5])
        raise DataError(
            f"{len(unpaired)} files under {folder} lack their partner in HE/{part} or IHC/{part}: "
            f"{shown}. Add the partner or remove the file"
        )
    return [Tile(f"{part}/{name}", grade_in_name(name), part=part) for name in sorted(he)]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]


def grade_in_name(name: str) -> int:
    """The grade 0 to 3 at the end of a BCI file name, e.g. 2 for `00012_train_2+.png`.

    Raises
    ------
    DataError
        If the name does not end in `_0`, `_1+`, `_2+` or `_3+` before its suffix.
    """
    match = re.search(r"_(0|1\+|2\+|3\+)\.[A-Za-z]+$", name)
    if match is None:
        raise DataError(
            f"no HER2 grade in the file name {name}: it must end in _0, _1+, _2+ or _3+ before "
            "the suffix, as in 00012_train_2+.png"
        )
    return GRADE_NAMES.index(match.group(1))


def _image_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image from its header alone."""
    try:
        with Image.open(path) as image:
            return image.size
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as an image: replace or remove it") from error


def _decode(path: Path) -> NDArray[np.uint8]:
    """An image as (height, width, 3) uint8, whatever its suffix claims."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be decoded ({error}): replace or remove it") from error
