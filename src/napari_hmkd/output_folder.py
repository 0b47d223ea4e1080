"""Output folders: each appears complete or not at all, and nothing else is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from napari_hmkd.errors import OutputError


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
            if not is_there(folder) or self._is_empty_or_earlier(folder):
                return
        except (OSError, ValueError) as error:
            raise self.unwritable(folder, error) from error
        raise OutputError(
            f"asked to write {self.what} to {folder}, but what is there was not written by this "
            f"program (no {' and '.join(sorted(self.marks))} in it) and is left alone; choose another "
            "output folder"
        )

    def unwritable(self, folder: Path, error: Exception) -> OutputError:
        """What to raise where a folder cannot be written, for the reason that the system gives."""
        return OutputError(
            f"asked to write {self.what} to {folder}, but: {error}; close programs that show files of "
            "that folder, look at its permissions and the free space, or choose another output folder"
        )

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

    An older one of the same kind is replaced; what a user put into it besides is kept.

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
    except (OSError, ValueError) as error:
        raise kind.unwritable(folder, error) from error
    part = folder.parent / f".{uuid4().hex}.part"
    try:
        kind.check_replaceable(folder)
        part.mkdir(parents=True)
        yield part
        _put_in_place(part, folder, kind)
    except OSError as error:
        raise kind.unwritable(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put_in_place(part: Path, folder: Path, kind: FolderKind) -> None:
    if not is_there(folder):
        part.rename(folder)
        return
    old = part.with_suffix(".old")
    folder.rename(old)
    try:
        part.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    for entry in old.iterdir():
        # An older output that has no successor would be taken for a part of the new ones.
        if entry.name not in kind.entries and not (folder / entry.name).exists():
            entry.rename(folder / entry.name)
    shutil.rmtree(old, ignore_errors=True)
