"""Which tiles of the data belong to the part that shall be scored."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.patients import same_patient
from napari_hmkd.training.leaks import PictureDigests
from napari_hmkd.training.run import SETTINGS_FILE
from napari_hmkd.training.separation import picture_digests
from napari_hmkd.training.splits import DIGEST_COLUMNS, SPLIT_FILE, TEACHER_SPLIT_FILE
from napari_hmkd.training.tiles import PARTS, Tile, TileSource

Key = TypeVar("Key", bound=Hashable)


UNKNOWN: PictureDigests = (None, None)


@dataclass(frozen=True)
class RunSplit:
    """The parts of tiles, patients and pictures (stain and digest) in a run's split.csv.

    Parts are compared in the order of `PARTS`: one on several sides counts as used. Patients are
    those of `same_patient`; `nameless` are the tiles outside the test part that name none.
    """

    tiles: dict[str, str]
    patients: dict[str, str]
    pictures: dict[tuple[int, str], str]
    nameless: set[str]

    def part(self, tile: Tile, digests: PictureDigests = UNKNOWN) -> str | None:
        """The part of a tile, of its patient or of its pictures, the most used; None if unseen."""
        found = [self.tiles.get(tile.name), self.patients.get(same_patient(tile.patient or ""))]
        found += [self.pictures.get((i, one.hex())) for i, one in enumerate(digests) if one]
        return _most_used(found)


def _most_used(parts: Iterable[str | None]) -> str | None:
    """Of the parts that are known, the one that tells most of a model's fit."""
    return min(filter(None, parts), key=PARTS.index, default=None)


def read_split(path: Path) -> RunSplit:
    """A run's split.csv.

    Raises
    ------
    DataError
        If it is no table of tiles and parts, or lacks a column; the message names the line.
    """
    known = RunSplit({}, {}, {}, set())
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for row in reader:
                name, patient, part = (row[key] for key in ("tile", "patient", "split"))
                if not name or part not in PARTS:
                    raise DataError(
                        f"{path}, line {reader.line_num}: needs a tile and as its split one of "
                        f"{', '.join(PARTS)}"
                    )
                _use(known.tiles, name, part)
                _use(known.patients, same_patient(patient or ""), part)
                if not patient and part != "test":
                    known.nameless.add(name)
                for i, column in enumerate(DIGEST_COLUMNS):
                    if digest := row[column]:
                        _use(known.pictures, (i, digest), part)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read ({error}): it says what trained the model"
        ) from error
    except KeyError as error:
        raise DataError(
            f"{path} has no column {error}: copy the run's own file beside its weights"
        ) from error
    return known


def _use(parts: dict[Key, str], key: Key | None, part: str) -> None:
    """Note that something known is in a part, unless it was found in one that counts more."""
    if key:
        parts[key] = min(parts.get(key, "test"), part, key=PARTS.index)


def splits_behind(weights: Path) -> tuple[list[RunSplit], bool]:
    """What a model saw, itself or through its teacher; and whether all of that is known.

    Raises
    ------
    DataError
        If a split beside the weights cannot be read.
    """
    own, teachers = (weights.with_name(name) for name in (SPLIT_FILE, TEACHER_SPLIT_FILE))
    found = [read_split(path) for path in (own, teachers) if path.is_file()]
    return found, own.is_file() and (teachers.is_file() or not _had_teacher(weights))


def _had_teacher(weights: Path) -> bool:
    path = weights.with_name(SETTINGS_FILE)
    if not path.is_file():
        return False
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error}): it says what the model learned from"
        ) from error
    return isinstance(settings, dict) and settings.get("teacher") is not None


@dataclass(frozen=True)
class Selection:
    """The tiles to score; `checked` if it is known of every model what it and its teacher saw.

    `patients_known` if all that they saw, as far as that is known, names its patient.
    `decoded` if every picture was decoded to find copies, so that none is unreadable.
    """

    indices: NDArray[np.intp]
    checked: bool
    decoded: bool
    patients_known: bool
    left_out: dict[str, int]
    """How many tiles belong to other parts of a model's split or of the data's own."""


def select_tiles(source: TileSource, weights: Sequence[Path], part: str) -> Selection:
    """The tiles that are in one part for each of the models.

    A tile's part is what the splits beside the weights say, a student's teacher's among them, else
    what the data itself says, else "test": neither the tile nor its patient nor a copy of its
    pictures was used. To find copies each picture is decoded once, where a split knows pictures.

    Raises
    ------
    DataError
        If no tile is left, or a picture cannot be decoded.
    """
    behind = [splits_behind(path) for path in weights]
    tiles = source.tiles
    pictured = any(split.pictures for splits, _ in behind for split in splits)
    digests = picture_digests(source) if pictured else [UNKNOWN] * len(tiles)
    used = [
        [_most_used(split.part(tile, known) for split in splits) for splits, _ in behind]
        for tile, known in zip(tiles, digests, strict=True)
    ]
    parts = [
        {one or tile.part or "test" for one in known}
        for tile, known in zip(tiles, used, strict=True)
    ]
    # Another part wins: a tile counts as of the one asked for only where all models agree on it.
    counted = [min(several - {part}, key=PARTS.index, default=part) for several in parts]
    indices = np.flatnonzero([one == part for one in counted])
    others = Counter(one for one in counted if one != part)
    if not len(indices):
        seen = part == "test" and any(map(any, used))
        raise DataError(_nothing_left(tiles, weights, part, others, seen))
    return Selection(
        indices,
        checked=all(complete for _, complete in behind),
        decoded=pictured,
        patients_known=not any(split.nameless for splits, _ in behind for split in splits),
        left_out=dict(others),
    )


def _nothing_left(
    tiles: Sequence[Tile],
    weights: Sequence[Path],
    part: str,
    others: Mapping[str, int],
    seen: bool,
) -> str:
    names = ", ".join(str(path) for path in weights)
    counts = ", ".join(f"{count} {other}" for other, count in others.items())
    if seen:
        return (
            f"all {len(tiles)} tiles, their patients or copies of their pictures were used to train, "
            f"pick or calibrate {names} or its teacher ({counts}; see {SPLIT_FILE} beside it), e.g. "
            f"{tiles[0].name}: score others, e.g. with another --cohort-seed, or name their part with "
            "--split. Patients are known by what the data calls them: another hospital's need "
            "names of their own"
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
