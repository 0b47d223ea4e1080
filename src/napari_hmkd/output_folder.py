"""Output folders: each appears complete or not at all, and nothing else is lost."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from napari_hmkd.durable import push_names_to_disk, push_to_disk
from napari_hmkd.errors import OutputError
from napari_hmkd.leftovers import hidden_beside, in_use, patiently, renamed, take_over, tidy_up

_TRIES, _PAUSE_S = 20, 0.005  # of runs that replace one folder at the same time
_LONG_ON_WINDOWS = 247  # 12 fewer than files may have: a folder's, in which a file of 8.3 fits


@dataclass(frozen=True)
class FolderKind:
    """What a program writes into a folder of one kind.

    Attributes
    ----------
    what : str
        What it is called in messages.
    marks : frozenset of str
        Files by which an earlier one is known.
    entries : frozenset of str
        All that it may hold; whatever else is there is a user's.
    """

    what: str
    marks: frozenset[str]
    entries: frozenset[str]

    def check_replaceable(self, folder: Path) -> None:
        """Check that nothing of a user's would be lost.

        Raises
        ------
        OutputError
            If what is there is neither an empty folder nor an earlier one of this kind, or cannot be
            looked into.
        """
        try:
            for _ in range(_TRIES):
                with suppress(FileNotFoundError):  # another run has just moved it away
                    if not is_there(folder) or self._is_empty_or_earlier(folder):
                        return
                time.sleep(_PAUSE_S)
        except (OSError, ValueError) as error:
            raise self.unwritable(folder, error) from error
        raise OutputError(
            f"asked to write {self.what} to {folder}, but what is there was not written by this "
            f"program (no {' and '.join(sorted(self.marks))} in it) and is left alone; choose another "
            "output folder"
        )

    def unwritable(self, folder: Path, error: Exception) -> OutputError:
        """What to raise where a folder cannot be written, for the reason that the system gives."""
        advice = (
            "close programs that show files of that folder, look at its permissions and the free space, or "
            "choose another output folder"
        )
        if sys.platform == "win32" and len(str(getattr(error, "filename", ""))) > _LONG_ON_WINDOWS:
            advice = (
                f"Windows takes no path of more than {_LONG_ON_WINDOWS} letters unless its long paths are "
                "switched on: choose a shorter output folder"
            )
        return OutputError(f"asked to write {self.what} to {folder}, but: {error}; {advice}")

    def _is_empty_or_earlier(self, folder: Path) -> bool:
        if not folder.is_dir():
            return False
        return all((folder / name).is_file() for name in self.marks) or not any(folder.iterdir())


def is_there(path: Path) -> bool:
    """Whether something has this name; unlike `Path.exists`, one answer in all versions of Python.

    Raises
    ------
    OSError
        It cannot be known: a folder above may not be entered, a name is too long, links go in a circle.
    ValueError
        No file can have this name.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextmanager
def replaced_folder(folder: Path, kind: FolderKind) -> Iterator[Path]:
    """Fill a new folder beside the target, which takes its place only if all went well.

    An older one of the same kind is replaced; what a user put into it besides is kept. Of several runs
    that replace one folder at the same time, the last one's stays. All is on the disk before it takes
    its place. What a killed run left is removed or put back before, see `tidy_up`.

    Yields
    ------
    pathlib.Path
        The empty folder to write into.

    Raises
    ------
    OutputError
        If the folder cannot be written or replaced.
    """
    try:
        folder = Path(os.path.realpath(folder))  # it may be "." or a link
        tidy_up([folder], kind.entries)
    except (OSError, ValueError) as error:
        raise kind.unwritable(folder, error) from error
    part = hidden_beside(folder, "part")
    try:
        kind.check_replaceable(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with in_use(part):
            try:
                part.mkdir()
                yield part
                push_to_disk(part)
                _put_in_place(part, folder, kind)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise kind.unwritable(folder, error) from error


def _put_in_place(part: Path, folder: Path, kind: FolderKind) -> None:
    """Move what is in place away and the new folder there, again while other runs do the same."""
    moved_away: list[Path] = []
    try:
        while not renamed(part, folder):
            old = hidden_beside(folder, "old")
            with suppress(FileNotFoundError):  # another run was faster
                patiently(partial(folder.rename, old))
                moved_away.append(old)
    except OSError:
        for old in moved_away[-1:]:
            renamed(old, folder)
        raise
    for old in moved_away:
        take_over(old, folder, kind.entries)
    push_names_to_disk(folder.parent)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain values as UTF-8 JSON for people, too; a number that is not finite is an error."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table as a CSV file holds it; None is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
