"""Which tiles of the data belong to the part that shall be scored."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.training.splits import SPLIT_FILE
from napari_hmkd.training.tiles import PARTS, Tile, TileSource


@dataclass(frozen=True)
class RunSplit:
    """The parts of tiles and of patients in a run's split.csv.

    Parts are compared in the order of `PARTS`: one on several sides counts as used.
    """

    tiles: Mapping[str, str]
    patients: Mapping[str, str]

    def part(self, tile: Tile) -> str | None:
        """The part of a tile or of its patient, the most used; None where neither was seen."""
        found = (self.tiles.get(tile.name), self.patients.get(tile.patient or ""))
        return min(filter(None, found), key=PARTS.index, default=None)


def read_split(path: Path) -> RunSplit:
    """A run's split.csv.

    Raises
    ------
    DataError
        If it is no table of tiles and parts; the message names the line.
    """
    tiles: dict[str, str] = {}
    patients: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for row in reader:
                name, patient, part = (row.get(key) for key in ("tile", "patient", "split"))
                if not name or part not in PARTS:
                    raise DataError(
                        f"{path}, line {reader.line_num}: needs a tile and as its split one of "
                        f"{', '.join(PARTS)}"
                    )
                for parts, key in ((tiles, name), (patients, patient)):
                    if key:
                        known = parts.get(key, "test")
                        parts[key] = min(known, part, key=PARTS.index)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read ({error}): it says what trained the model"
        ) from error
    return RunSplit(tiles, patients)


@dataclass(frozen=True)
class Selection:
    """The tiles to score; `checked` if every model has a split.csv beside its weights."""

    indices: NDArray[np.intp]
    checked: bool
    left_out: dict[str, int]
    """How many tiles belong to other parts of a model's split or of the data's own."""


def select_tiles(tiles: Sequence[Tile], weights: Sequence[Path], part: str) -> Selection:
    """The tiles that are in one part for each of the models.

    A tile's part is what the split.csv beside the weights says, else what the data itself says,
    else "test": neither the tile nor its patient was used.

    Raises
    ------
    DataError
        If no tile is left.
    """
    files = [path.with_name(SPLIT_FILE) for path in weights]
    splits = [read_split(path) for path in files if path.is_file()]
    own = [tile.part or "test" for tile in tiles]
    listed = [{split.part(tile) or there for split in splits} or {there}
              for tile, there in zip(tiles, own, strict=True)]  # fmt: skip
    indices = np.array([i for i, parts in enumerate(listed) if parts == {part}], np.intp)
    others = Counter(min(parts - {part}, key=PARTS.index) for parts in listed if parts != {part})
    if not len(indices):
        raise DataError(_nothing_left(tiles, weights, splits, part, others))
    return Selection(indices, len(splits) == len(weights), dict(others))


def _nothing_left(
    tiles: Sequence[Tile],
    weights: Sequence[Path],
    splits: Sequence[RunSplit],
    part: str,
    others: Mapping[str, int],
) -> str:
    names = ", ".join(str(path) for path in weights)
    counts = ", ".join(f"{count} {other}" for other, count in others.items())
    if part == "test" and any(split.part(tile) for split in splits for tile in tiles):
        return (
            f"all {len(tiles)} tiles or their patients were used to train, pick or calibrate "
            f"{names} ({counts}; see {SPLIT_FILE} beside it), e.g. {tiles[0].name}: score others, "
            "e.g. with another --cohort-seed, or name their part with --split"
        )
    return (
        f"none of the {len(tiles)} tiles is in the {part} part of {names} ({counts}): name another "
        "with --split"
    )


class ChosenTiles:
    """Some tiles of a source as a source, so that only they are decoded."""

    def __init__(self, source: TileSource, indices: NDArray[np.intp]) -> None:
        self._source, self._indices = source, indices.tolist()
        self.tiles: Sequence[Tile] = [source.tiles[i] for i in self._indices]
        self.tile_px, self.mpp, self.renders = source.tile_px, source.mpp, source.renders
        self.training_data, self.notice = source.training_data, source.notice
        self.identity = f"{source.identity} tiles {self._indices}"

    def read(self, index: int) -> NDArray[np.uint8]:
        """One pair, (2, tile_px, tile_px, 3)."""
        return self._source.read(self._indices[index])

    def names(self, index: int) -> tuple[str, str]:
        """What the source calls a pair's pictures."""
        return self._source.names(self._indices[index])
