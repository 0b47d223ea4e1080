"""Features of many slides kept in one folder, whose room is bounded."""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from filelock import ReadWriteLock, Timeout

from napari_hmkd.biomarkers.feature_store import FeatureStore, remove_store
from napari_hmkd.result_store import WAIT_S

MOST_KEPT_BYTES = 10 * 10**9
"""What a folder may hold when another slide is begun."""

_FOLDER = ".lock"
_IN_USE = ".use"


class KeptFeatures(FeatureStore):
    """The features of one slide among those of others.

    They are in use from `begin` to `end`, or until nothing refers to them any more, and are not removed
    meanwhile. The lock that says so is on a file beside them: several runs may share it, and the system
    frees that of a process that was killed.
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
            with closing(_lock_on(folder / _FOLDER)) as lock, lock.write_lock(WAIT_S):
                use = _lock_on(_use_of(self.path))
                self._use = weakref.finalize(self, use.close)
                use.acquire_read(WAIT_S)
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
        with closing(_lock_on(use)) as lock, lock.write_lock(timeout=0):
            remove_store(path)
    except Timeout:
        return False
    use.unlink()
    return True


def _use_of(path: Path) -> Path:
    return path.with_name(path.name + _IN_USE)


def _lock_on(path: Path) -> ReadWriteLock:
    """Of its own for each of this process's runs, too, whichever thread lets go of it."""
    return ReadWriteLock(path, is_singleton=False)
