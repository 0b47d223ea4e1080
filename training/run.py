"""The run folder: settings, versions, split, curves, checkpoints, scores, weights."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.output_folder import is_there
from napari_hmkd.training.files import is_partial, write_whole
from napari_hmkd.training.folder_lock import LOCK_FILE, alone_in
from napari_hmkd.training.leaks import PictureDigests
from napari_hmkd.training.scores.files import EVALUATION_FILE
from napari_hmkd.training.scores.strict_json import plain, strict_json
from napari_hmkd.training.splits import (
    DIGEST_COLUMNS,
    SPLIT_FILE,
    TEACHER_SPLIT_FILE,
    TILE_COLUMNS,
    Split,
)
from napari_hmkd.training.tiles import Tile
from napari_hmkd.wording import some_of

PACKAGES = ("napari-hmkd", "torch", "timm", "lightning", "torchmetrics", "scikit-learn", "numpy")
SETTINGS_FILE = "settings.json"
SPLIT_FILES = (SPLIT_FILE, TEACHER_SPLIT_FILE)
SHOWN_CHANGES = 3
DATA = "source_identity"
"""In the record of a run: by what its data is known again."""
# Where a run computes, what it keeps in memory and how its result is called change no number that
# is learned; a resumed run may differ in them. Where data and `teacher` lie is free, too: what the
# data says of each tile is compared, its pictures (`require_same_data`), and the teacher's content.
FREE = frozenset({
    ("compute", "device"),
    ("data", "cache"),
    ("data", "memory_gb"),
    ("split", "accept_leaks"),
    ("engine", "recompute"),
    ("export", "half"),
    ("export", "name"),
    ("source", ""),
    ("teacher", ""),
    ("versions", ""),
})  # fmt: skip


class RecordedFolder:
    """A folder with a record of what was asked: new or empty, or with `resume` one of the same run.

    As a context manager it gives back at the end what `hold` and `begin` took.

    Parameters
    ----------
    path : Path
        The folder.
    resume : bool
        Whether it may hold a run that was cut short (or has ended).
    """

    first_files: tuple[str, ...] = ()
    """What `begin` may leave behind where it is cut short before the record stands."""
    free: frozenset[tuple[str, str]] = frozenset()
    """Group and name of each setting in which a resumed run may differ."""

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.path, self._resume, self._held = path, resume, ExitStack()
        self.resuming = resume and os.path.isfile(path / SETTINGS_FILE)
        """Whether a run began here before."""

    def __enter__(self) -> Self:
        """Begin to work with the folder; nothing is held yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let other runs in."""
        self._held.close()

    def hold(self) -> None:
        """Keep other runs out of the folder; for the one process that writes there.

        Raises
        ------
        OutputError
            If another run is at work in it.
        """
        self._held.enter_context(alone_in(self.path))

    def require_usable(self) -> None:
        """Refuse a folder that holds something else or cannot be; for the one process that creates it.

        Raises
        ------
        OutputError
            Saying what to do.
        """
        try:
            if self.resuming:
                return
            if not is_there(self.path) or (
                self.path.is_dir() and all(map(self._is_remnant, self.path.iterdir()))
            ):
                self._require_writable()
                return
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{self.path} cannot be looked into: {error}. Name a new folder with --out"
            ) from error
        advice = "name a new folder with --out"
        if not self.path.is_dir():
            raise OutputError(f"{self.path} is a file, and a run needs a folder: {advice}")
        if (self.path / SETTINGS_FILE).is_file():
            advice += ", or go on with the run in it with --resume"
        raise OutputError(f"{self.path} exists and is not empty: {advice}")

    def _require_writable(self) -> None:
        """Refuse a place where nothing can be written, before minutes go into looking at pictures."""
        path = self.path.absolute()
        try:
            there = next((one for one in (path, *path.parents) if one.exists()), path)
            TemporaryDirectory(dir=there).cleanup()
        except OSError as error:
            raise self._unmakable(error) from error

    def _is_remnant(self, path: Path) -> bool:
        """Whether `create`, cut short, can have left this in a run that is to be resumed."""
        known = (*self.first_files, LOCK_FILE)
        return self._resume and (path.name in known or is_partial(path.name))

    def require_same_settings(self, settings: dict[str, Any]) -> None:
        """Refuse to go on with other settings than at the start, apart from the `free` ones.

        Raises
        ------
        DataError
            Naming what differs.
        OutputError
            If the record of the run cannot be read.
        """
        if differing := list(_differences(self.record(), plain(settings), self.free)):
            raise DataError(
                f"the run in {self.path} was started otherwise ({'; '.join(differing)}): repeat "
                "its command line with --resume, or name a new folder with --out"
            )

    def record(self) -> dict[str, Any]:
        """What the run was asked at its start.

        Raises
        ------
        OutputError
            If it cannot be read.
        """
        try:
            kept = json.loads((self.path / SETTINGS_FILE).read_text(encoding="utf-8"))
            return dict(kept)
        except (OSError, ValueError, TypeError) as error:
            raise self._unreadable(error) from error

    def begin(self, settings: dict[str, Any], write_first_files: Callable[[], None]) -> None:
        """Make the folder and hold it, with its first files and then `settings.json`.

        Raises
        ------
        OutputError
            If it cannot be made, or another run began there in the meantime; a folder that was not
            there before is not there after.
        """
        is_new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unmakable(error) from error
        self.hold()
        if (self.path / SETTINGS_FILE).exists():
            raise OutputError(
                f"another run began and ended in {self.path} while this one read its data: see its "
                "result, or name a new folder with --out"
            )
        try:
            write_first_files()
            # Last: where it stands, the rest does too, and the run can be resumed.
            write_json(self.path / SETTINGS_FILE, {**settings, "versions": versions()})
        except (OSError, OutputError) as error:
            self._held.close()
            if is_new:
                shutil.rmtree(self.path, ignore_errors=True)
            raise self._unmakable(error) from error

    def renew(self, entries: dict[str, Any]) -> None:
        """Replace entries of `settings.json`; for the one process that writes, before it holds the folder.

        Raises
        ------
        OutputError
            If another run is at work in the folder, or the record cannot be read or written.
        """
        with alone_in(self.path):
            write_json(self.path / SETTINGS_FILE, {**self.record(), **entries})

    def _unmakable(self, error: Exception) -> OutputError:
        return OutputError(
            f"the run folder {self.path} cannot be made: {error}. Make room, or name another with --out"
        )

    def _unreadable(self, error: Exception) -> OutputError:
        return OutputError(
            f"the run in {self.path} cannot be resumed, its record cannot be read: {error}. "
            "Start again in a new folder"
        )


class RunFolder(RecordedFolder):
    """The folder of one training run of a grader, with the split of its tiles."""

    first_files = SPLIT_FILES
    free = FREE

    def require_same(self, settings: dict[str, Any], split: Split, tiles: Sequence[Tile]) -> None:
        """Refuse to go on with other settings, another teacher, or other tiles than at the start.

        Raises
        ------
        DataError
            Naming what differs.
        OutputError
            If the record of the run cannot be read.
        """
        self.require_same_settings({**settings, DATA: self.record().get(DATA)})
        kept = [tuple(row[name] for name in TILE_COLUMNS) for row in self._split()]
        if changes := list(_changes(kept, [cells for _, cells in split.cells(tiles)])):
            raise DataError(
                f"the data is no longer as {self.path / SPLIT_FILE} says "
                f"({some_of(changes, SHOWN_CHANGES, '; ')}): give the data of the start, or name a new "
                "folder with --out"
            )

    def digests(self, tiles: Sequence[Tile]) -> list[PictureDigests]:
        """What the pictures of a run that goes on were known by at its start, for each tile.

        Raises
        ------
        OutputError
            If split.csv cannot be read.
        """
        rows = {row["tile"]: row for row in self._split()}
        try:
            found = [[bytes.fromhex(rows[tile.name][key]) for key in DIGEST_COLUMNS]
                     for tile in tiles]  # fmt: skip
        except (KeyError, ValueError) as error:
            raise self._unreadable(error) from error
        return [(he or None, ihc or None) for he, ihc in found]

    def _split(self) -> list[dict[str, str]]:
        try:
            with (self.path / SPLIT_FILE).open(newline="", encoding="utf-8") as file:
                return [
                    {name: row[name] or "" for name in (*TILE_COLUMNS, *DIGEST_COLUMNS)}
                    for row in csv.DictReader(file)
                ]
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise self._unreadable(error) from error

    def create(
        self,
        settings: dict[str, Any],
        split: Split,
        tiles: Sequence[Tile],
        digests: Sequence[PictureDigests],
        teacher: Path | None,
    ) -> None:
        """Make the folder, with the splits and `settings.json`, once the data proved usable.

        Raises
        ------
        OutputError
            If it cannot be made; a folder that was not there before is not there after.
        """

        def write_splits() -> None:
            split.write(self.path / SPLIT_FILE, tiles, digests)
            if teacher is not None and (taught := teacher.with_name(SPLIT_FILE)).is_file():
                # What a teacher saw its student knows, too.
                write_whole(self.path / TEACHER_SPLIT_FILE, taught.read_bytes())

        self.begin(settings, write_splits)

    def finished(self, role: str) -> Path | None:
        """The weights, where the run has ended; its scores are written last."""
        weights = self.path / f"{role}.safetensors"
        return weights if weights.is_file() and (self.path / EVALUATION_FILE).is_file() else None


def _differences(
    kept: dict[str, Any], asked: dict[str, Any], free: frozenset[tuple[str, str]]
) -> Iterator[str]:
    """What differs between two records of settings, apart from what is free."""
    for group in sorted(kept.keys() | asked.keys()):
        before, now = kept.get(group), asked.get(group)
        if not (isinstance(before, dict) and isinstance(now, dict)):
            before, now = {"": before}, {"": now}
        for name in sorted(before.keys() | now.keys()):
            pair = before.get(name), now.get(name)
            if (group, name) not in free and pair[0] != pair[1]:
                called = f"{group}.{name}".rstrip(".")
                yield f"{called} {pair[0]}, now {pair[1]}"


def _changes(kept: Sequence[tuple[str, ...]], found: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """What differs between two lists of tiles, each with the cells of `TILE_COLUMNS`, by tile.

    Those that differ in their part alone come last: what the others are may have moved them.
    """
    nothing = ("",) * len(TILE_COLUMNS)
    rows, new_rows = ({cells[0]: cells for cells in each} for each in (kept, found))
    pairs = {
        tile: (rows.get(tile, nothing), new_rows.get(tile, nothing)) for tile in rows | new_rows
    }
    moved = {tile: before[:-1] == now[:-1] for tile, (before, now) in pairs.items()}
    for tile in sorted(pairs, key=lambda tile: (moved[tile], tile)):
        before, now = pairs[tile]
        differing = [
            f"{name} {old or 'none'}, now {new or 'none'}"
            for name, old, new in zip(TILE_COLUMNS, before, now, strict=True)
            if old != new
        ]
        if differing:
            yield f"{tile}: {', '.join(differing)}"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, 16 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def text_digest(text: str) -> str:
    """SHA-256 of a text, 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_json(path: Path, content: Any) -> None:
    """Write a whole JSON file or none; dataclasses become objects, NaN becomes null.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_whole(path, strict_json(content).encode())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
