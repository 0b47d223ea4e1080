"""Graded tiles kept on disk, so that a run which was closed or killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from napari_hmkd.errors import OutputError
from napari_hmkd.inference import GradedBatch
from napari_hmkd.model.stages import GRADES
from napari_hmkd.output_folder import is_there
from napari_hmkd.user_folders import user_folder

Result = TypeVar("Result")
_LOG = logging.getLogger(__name__)

WAIT_S = 30.0
"""For another run that writes."""
_SUM_TOLERANCE = 1e-3
_NAME_BYTES = 200  # most file systems take 255, and SQLite adds some
_ABOUT = "CREATE TABLE IF NOT EXISTS about (key TEXT NOT NULL)"
_TILES = (
    'CREATE TABLE IF NOT EXISTS tiles ("row" INTEGER, "column" INTEGER, {values}, '
    'PRIMARY KEY ("row", "column"))'
)


def default_folder() -> Path | None:
    """Where results are kept: in the user's data folder, since that of a slide is often read-only.

    None, with a warning, for a user without a home.
    """
    return kept_among_the_users_data(ResultStore)


def kept_among_the_users_data(kind: type[TileStore]) -> Path | None:
    """The folder of the user's stores of one kind; None, with a warning, for a user without a home."""
    try:
        return user_folder("data") / kind.what
    except OutputError as error:
        _LOG.warning("%s are not kept for another time: %s", kind.what, error)
        return None


class TileStore:
    """What became of the tiles of one slide on one grid, in an SQLite file.

    Each batch is written in one transaction: a run that is killed loses the batch it was at, and runs
    that go on side by side keep each other's tiles. Tiles that could not be read are not kept: another
    time they may be.

    Parameters
    ----------
    folder : Path
        Of the stores; it is made with the first batch.
    name : str
        The slide's, for people who look into the folder; what is too long for a file's name is cut.
    key : mapping
        All that a tile's values depend on, as plain values for JSON; another key is another file.

    Attributes
    ----------
    path : Path
        The file.
    """

    what: ClassVar[str]
    """What messages call it."""

    values: ClassVar[Mapping[str, str]]
    """What is kept of a tile: names and SQLite's types."""

    def __init__(self, folder: Path, name: str, key: Mapping[str, object]) -> None:
        self._key = json.dumps(key, sort_keys=True)
        digest = hashlib.sha256(self._key.encode()).hexdigest()[:16]
        short = os.fsencode(name)[:_NAME_BYTES].decode(errors="ignore")
        self.path = folder / f"{short}-{digest}.sqlite"

    def _read_rows(self) -> list[tuple[Any, ...]]:
        """Row, column and values of all tiles that were kept, in order, but for those that are damaged.

        Values are bytes of finite float32, of the same length for all tiles, or None where a value may
        be missing. What is left out will be computed again.
        """
        names = ", ".join(self.values)
        query = f'SELECT "row", "column", {names} FROM tiles ORDER BY "row", "column"'
        if not self._is_there():
            return []
        rows = self._do(lambda database: database.execute(query).fetchall())
        sound = [row for row in rows if all(isinstance(number, int) for number in row[:2])]
        for index, name in enumerate(self.values, start=2):
            lengths = Counter(len(row[index]) for row in sound if isinstance(row[index], bytes))
            usual = max(lengths, key=lambda length: lengths[length], default=0)
            sound = [row for row in sound if self._is_sound(name, row[index], usual)]
        if len(sound) < len(rows):
            _LOG.warning(
                "%d of %d tiles kept in %s are damaged: they are computed again",
                len(rows) - len(sound),
                len(rows),
                self.path,
            )
        return sound

    def _is_sound(self, name: str, value: object, usual_bytes: int) -> bool:
        """Whether a value of that name can be one that was kept, where most have so many bytes."""
        if value is None:
            return "NOT NULL" not in self.values[name]
        if (
            not isinstance(value, bytes)
            or not value
            or len(value) != usual_bytes
            or usual_bytes % 4
        ):
            return False
        return bool(np.isfinite(np.frombuffer(value, np.float32)).all())

    def _add_rows(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Keep rows such as `_read_rows` gives, in place of older ones."""
        places = ", ".join("?" * (2 + len(self.values)))
        order = f"INSERT OR REPLACE INTO tiles VALUES ({places})"
        if rows:
            self._do(lambda database: database.executemany(order, rows))

    def _is_there(self) -> bool:
        try:
            return is_there(self.path)
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def _do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Work on the open file in one transaction."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=WAIT_S)) as database, database:
                self._require_own(database)
                return work(database)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def without_folder(self, error: OutputError) -> str:
        """What an error of this store says, fit for results, which no folder belongs in."""
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror  # the rest of its words names folders
        return str(error).replace(str(self.path), self.path.name)

    def not_kept(self, error: OutputError) -> str:
        """What to note where an error of this store keeps it from its work."""
        return f"{self.what} are not kept for another time: {self.without_folder(error)}"

    def _unusable(self, error: Exception) -> OutputError:
        return OutputError(
            f"asked to keep tiles in {self.path}, but: {error}; look at the free space and "
            "the permissions there, or remove that file if it is damaged"
        )

    def _require_own(self, database: sqlite3.Connection) -> None:
        """Make the tables of a new file; of an old one, check that it is the key's."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.values.items())
        for statement in (_ABOUT, _TILES.format(values=columns)):
            database.execute(statement)
        database.execute(
            "INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT * FROM about)", (self._key,)
        )
        if database.execute("SELECT key FROM about").fetchall() != [(self._key,)]:
            raise OutputError(
                f"asked to go on with the tiles in {self.path}, but they belong to another slide, "
                "model or grid; remove that file"
            )


class ResultStore(TileStore):
    """The graded tiles of one slide by one model on one grid; see `TileStore`."""

    what = "results"
    values: ClassVar[Mapping[str, str]] = {"probabilities": "BLOB NOT NULL", "evidence": "BLOB"}

    def _is_sound(self, name: str, value: object, usual_bytes: int) -> bool:
        if not super()._is_sound(name, value, usual_bytes):
            return False
        if not isinstance(value, bytes):
            return True
        numbers = np.frombuffer(value, np.float32)
        if name == "evidence":
            return len(numbers) == GRADES * math.isqrt(len(numbers) // GRADES) ** 2
        in_range = numbers.min() >= 0 and numbers.max() <= 1
        return len(numbers) == GRADES and bool(
            in_range and abs(numbers.sum() - 1) <= _SUM_TOLERANCE
        )

    def read(self) -> GradedBatch:
        """All tiles that were kept; none where there is no file yet.

        Raises
        ------
        OutputError
            The file is damaged, or is not the key's.
        """
        rows = self._read_rows()
        tiles = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2)
        probabilities = [np.frombuffer(row[2], np.float32) for row in rows]
        evidence = [_cells(row[3]) for row in rows if row[3] is not None]
        return GradedBatch(
            tiles,
            np.array(probabilities, np.float32).reshape(-1, GRADES),
            evidence=np.array(evidence) if rows and len(evidence) == len(rows) else None,
        )

    def add(self, batch: GradedBatch) -> None:
        """Keep the graded tiles of a batch, in place of older ones.

        Raises
        ------
        OutputError
            They cannot be written.
        """
        evidence = [None] * len(batch.tiles) if batch.evidence is None else batch.evidence
        self._add_rows(
            [
                (*tile, answer.tobytes(), None if cells is None else cells.tobytes())
                for tile, answer, cells in zip(
                    batch.tiles.tolist(), batch.probabilities, evidence, strict=True
                )
            ]
        )


def _cells(blob: bytes) -> np.ndarray:
    side = math.isqrt(len(blob) // (4 * GRADES))
    return np.frombuffer(blob, np.float32).reshape(side, side, GRADES)
