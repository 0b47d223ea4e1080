"""Output folders: each appears complete or not at all, and nothing else is lost."""

from __future__ import annotations

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
            If what is there is neither an empty folder nor an earlier one of this kind.
        """
        if not folder.exists():
            return
        earlier = all((folder / name).is_file() for name in self.marks)
        if not folder.is_dir() or (any(folder.iterdir()) and not earlier):
            raise OutputError(
                f"asked to write {self.what} to {folder}, but what is there was not written by this "
                f"program (no {' and '.join(sorted(self.marks))} in it) and is left alone; choose another "
                "output folder"
            )


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
    folder = folder.resolve()  # it may be "." or a link
    part = folder.parent / f".{uuid4().hex}.part"
    try:
        kind.check_replaceable(folder)
        part.mkdir(parents=True)
        yield part
        _put_in_place(part, folder, kind)
    except OSError as error:
        raise OutputError(
            f"asked to write {kind.what} to {folder}, but: {error}; close programs that show files of "
            "that folder, look at its permissions and the free space, or choose another output folder"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put_in_place(part: Path, folder: Path, kind: FolderKind) -> None:
    if not folder.exists():
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
