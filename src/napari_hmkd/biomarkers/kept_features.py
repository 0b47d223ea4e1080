"""Features of many slides kept in one folder, whose room is bounded."""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from napari_hmkd.biomarkers.feature_store import FeatureStore, remove_store
from napari_hmkd.result_store import WAIT_S

MOST_KEPT_BYTES = 10 * 10**9
"""What a folder may hold when another slide is begun."""

_SHARED, _EXCLUSIVE = "DEFERRED", "EXCLUSIVE"
_FOLDER = ".lock"
_IN_USE = ".use"


class KeptFeatures(FeatureStore):
    """The features of one slide among those of others.

    They are in use from `begin` to `end`, or until nothing refers to them any more, and are not removed
    meanwhile. The lock that says so is one of SQLite on an empty file beside them: several runs may
    share it, and the system frees that of a process that was killed.
    """

    def __init__(self, folder: Path, name: str, key: Mapping[str, object]) -> None:
        super().__init__(folder, name, key)
        self._use: weakref.finalize | None = None

    def begin(self, most_bytes: int) -> None:
        """Take them into use, and make room: of all in the folder the least recently used are removed.

        Parameters
        ----------
        most_bytes : int
            What may be left, see `MOST_KEPT_BYTES`. What is in use stays, also if that is more.

        Raises
        ------
        OutputError
            The folder cannot be written, or others cannot be removed.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with closing(_locked(folder / _FOLDER, _EXCLUSIVE)):
                self._use = weakref.finalize(self, _locked(_use_of(self.path), _SHARED).close)
                if self.path.exists():
                    os.utime(self.path)  # used now, though nothing may be written
                _make_room(folder, most_bytes)
        except (OSError, ValueError, sqlite3.Error) as error:
            self.end()
            raise self._unusable(error) from error

    def end(self) -> None:
        """They may be removed from now on."""
        if self._use is not None:
            self._use()


def _make_room(folder: Path, most_bytes: int) -> None:
    """With the folder locked: nothing in it is taken into use meanwhile."""
    found = [(path, path.stat()) for path in folder.glob("*.sqlite")]
    excess = sum(about.st_size for _, about in found) - most_bytes
    for path, about in sorted(found, key=lambda one: one[1].st_mtime_ns):
        if excess <= 0:
            return
        if _remove_unused(path):
            excess -= about.st_size


def _remove_unused(path: Path) -> bool:
    """Remove the features of a slide, unless a run uses them."""
    use = _use_of(path)
    try:
        lock = _locked(use, _EXCLUSIVE, wait_s=0)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return False
        raise
    with closing(lock):
        remove_store(path)
    use.unlink()
    return True


def _use_of(path: Path) -> Path:
    return path.with_name(path.name + _IN_USE)


def _locked(path: Path, kind: str, wait_s: float = WAIT_S) -> sqlite3.Connection:
    """A transaction on an empty database: it holds a lock on the file until it is closed."""
    # It is closed by whichever thread lets the features go.
    lock = sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
    try:
        lock.execute(f"BEGIN {kind}")
        lock.execute("SELECT * FROM sqlite_master").fetchall()  # a shared lock comes with reading
    except sqlite3.Error:
        lock.close()
        raise
    return lock
