"""What a killed run left beside outputs, under hidden names: parts of new ones, and old ones."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from filelock import FileLock, Timeout

Result = TypeVar("Result")
_LOG = logging.getLogger(__name__)
_HIDDEN = re.compile(r"\.([0-9a-f]{16})-[0-9a-f]{32}\.(?:part|old|lock)")
_ABANDONED_S = 3600.0
"""Nobody takes so long for one file. Files have no lock, and some network drives keep locks for each
machine by itself."""
_PATIENCE_S = 60.0  # for another run's table
_TRIES, _PAUSE_S = 20, 0.01
_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
# Where the system has no locks at all, filelock makes do with the file.
warnings.filterwarnings("ignore", message="flock not supported on this filesystem")


def hidden_beside(path: Path, suffix: str) -> Path:
    """A new hidden name in the same folder, that tells whose it is; a name itself may be too long."""
    return path.parent / f".{_name_tag(path)}-{uuid4().hex}.{suffix}"


def _name_tag(path: Path) -> str:
    """16 hex digits for a file's name."""
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Let other runs wait that would change a file, too, where its disk has locks, and a minute at most.

    The file's folder is made.
    """
    with suppress(OSError, ValueError):  # who writes the file will meet it again
        path.parent.mkdir(parents=True, exist_ok=True)
    with in_use(path.parent / f".{_name_tag(path)}-{'0' * 32}.part"):
        yield


def in_use(part: Path) -> AbstractContextManager[bool]:
    """Mark a part as one that a living process writes, before it is made and until it is gone."""
    return taken(part.with_suffix(".lock"), _PATIENCE_S)


@contextmanager
def taken(lock_file: Path, patience_s: float) -> Iterator[bool]:
    """Hold a lock, which the system gives back for a process that is killed; its file is removed.

    Yields
    ------
    bool
        False where another run, or another holder in this process, has not given it back in time.
        True also where the disk has no locks or the file cannot be made.
    """
    # A generator that holds it may be closed in another thread.
    lock, ours = FileLock(lock_file, thread_local=False), True
    try:
        ours = not _held_by_others(lock, patience_s)
        yield ours
    finally:
        # Before the release: who waits must not get a lock whose file then goes.
        with suppress(OSError, ValueError):
            if ours:
                lock_file.unlink(missing_ok=True)
        lock.release()


def _held_by_others(lock: FileLock, patience_s: float) -> bool:
    """Take a lock, or say that another run has not given it back in time."""
    # Where a disk knows no locks, nobody will take a part for abandoned, and runs are not told apart.
    with suppress(OSError):
        try:
            lock.acquire(timeout=patience_s)
            # Another run can have taken the lock for abandoned before it was held.
            while not Path(lock.lock_file).exists():
                lock.release()
                lock.acquire(timeout=patience_s)
        except Timeout:
            return True
    return False


def tidy_up(folders: Sequence[Path], entries: Collection[str]) -> None:
    """Remove parts that a killed run left, and put back what it had moved away.

    Parameters
    ----------
    folders : sequence of Path
        Output folders, without links in their names, and files; there or not.
    entries : collection of str
        What the program writes into one of them; anything else is a user's.
    """
    by_tag: dict[Path, dict[str, Path]] = defaultdict(dict)
    for folder in folders:
        by_tag[folder.parent][_name_tag(folder)] = folder
    for parent, wanted in by_tag.items():
        for hidden in list(parent.iterdir()) if parent.is_dir() else ():
            found = _HIDDEN.fullmatch(hidden.name)
            target = wanted.get(found[1]) if found else None
            if target is None:
                continue
            if hidden.suffix == ".old":
                _put_back(hidden, target, entries)
            else:
                _remove_abandoned(hidden)


def _remove_abandoned(hidden: Path) -> None:
    """Remove a part, or a lock without one, that nobody writes any more."""
    part = hidden.with_suffix(".part")
    try:
        if part.exists() and time.time() - _last_written_s(part) < _ABANDONED_S:
            return
        with FileLock(part.with_suffix(".lock")).acquire(timeout=0):
            shutil.rmtree(part, ignore_errors=True)
            part.unlink(missing_ok=True)
            part.with_suffix(".lock").unlink(missing_ok=True)
    except OSError as error:  # a lock that another holds, too
        _LOG.debug("%s stays: %r", hidden, error)


def _last_written_s(part: Path) -> float:
    return max(path.stat().st_mtime for path in (part, *part.rglob("*")))


def _put_back(old: Path, folder: Path, entries: Collection[str]) -> None:
    try:
        with suppress(FileNotFoundError):  # it was no leftover, but another run's that is at work
            if not renamed(old, folder):
                take_over(old, folder, entries)
    except OSError as error:
        _LOG.warning("%s could not be put back to %s: %s", old, folder, error)


def patiently(move: Callable[[], Result]) -> Result:
    """Move a file or folder, again for some 2 s where another program has something there open.

    Windows refuses that meanwhile, and what looks for viruses, or a panel that shows a table, opens
    files as soon as they are written.
    """
    for pause in _PAUSES_S:
        with suppress(PermissionError):
            return move()
        time.sleep(pause)
    return move()


def renamed(source: Path, target: Path) -> bool:
    """Give a folder another name; False where a folder that is not empty has it."""
    return patiently(lambda: _renamed(source, target))


def _renamed(source: Path, target: Path) -> bool:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        # So say Windows, and drives by CIFS and sshfs; or else nothing may be renamed here.
        if error.errno in (errno.EACCES, errno.EPERM) and target.is_dir():
            return False
        raise
    return True


def take_over(old: Path, folder: Path, entries: Collection[str]) -> None:
    """Move what is a user's from an older folder into the newer one, and remove the rest.

    Other runs may do the same at the same time, or move the newer folder away. Nothing of a user's is
    removed: what cannot be moved stays where it is, and there is a warning.
    """
    for _ in range(_TRIES):
        with suppress(OSError):  # another run was faster, or has put something here
            for entry in list(old.iterdir()):
                _move_or_remove(entry, folder, entries)
            old.rmdir()
        if not old.exists():
            return
        time.sleep(_PAUSE_S)
    _LOG.warning("%s could not be emptied into %s; the next run tries again", old, folder)


def _move_or_remove(entry: Path, folder: Path, entries: Collection[str]) -> None:
    with suppress(OSError):  # it is open in another program, or has gone
        # An older output that has no successor would be taken for a part of the new ones.
        if entry.name not in entries:
            entry.rename(_free(folder / entry.name))
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _free(path: Path) -> Path:
    """The path itself, or with a number where something is there."""
    number, found = 2, path
    while found.exists() or found.is_symlink():
        found, number = path.with_name(f"{path.stem} ({number}){path.suffix}"), number + 1
    return found
