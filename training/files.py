"""Folders and new files, and whole files or none: what is replaced survives a full disk and a kill."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_hmkd.errors import OutputError
from napari_hmkd.leftovers import patiently
from napari_hmkd.output_folder import csv_text, is_there

_PARTIAL = ".partial"
_PARTIAL_NAME = re.compile(rf".+\.\d+{re.escape(_PARTIAL)}")


def is_partial(name: str) -> bool:
    """Whether a file's name is that of one that is being written, or that a killed process left."""
    return _PARTIAL_NAME.fullmatch(name) is not None


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a neighbour, push it to the disk, and move it into place.

    Raises
    ------
    OutputError
        If it cannot be written, naming the file; what stood there before stands there still.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before the content does
        patiently(lambda: os.replace(partial, path))
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error}. Make room or choose another folder; what was "
            "there before is kept"
        ) from error
    finally:  # after Ctrl-C, too
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A table in UTF-8, written as `write_whole` does it and with its errors."""
    write_whole(path, csv_text(header, rows).encode())


def write_unless_held(path: Path, content: bytes | memoryview) -> bool:
    """As `write_whole`, but for a table that people look at while more is to come.

    Returns
    -------
    bool
        False where another program has it open, which keeps Windows from replacing it.

    Raises
    ------
    OutputError
        If it cannot be written for another reason.
    """
    try:
        write_whole(path, content)
    except OutputError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        return False
    return True


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where it is missing.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} cannot be made: {error}. Choose another one"
        ) from error


def require_new_file(path: Path) -> None:
    """Refuse a file that is there, or of which it cannot be known.

    Raises
    ------
    OutputError
        Saying what to do.
    """
    try:
        taken = is_there(path)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be written: {error}. Name another with --out") from error
    if taken:
        raise OutputError(f"{path} exists: name a new file with --out")
