"""Whole files or none, on the disk before they take their place: what is there survives a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_hmkd.leftovers import hidden_beside, patiently, tidy_up


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Write a new file beside the target, which takes its place only if all went well.

    Its folder is made. Runs side by side each write a file of their own; the last one stays. What a
    killed run left is removed before, see `tidy_up`.

    Yields
    ------
    pathlib.Path
        The file to write; it is not there yet.

    Raises
    ------
    OSError, ValueError
        It cannot be written, or no file can have this name; what stood there before stands there still.
    """
    part = hidden_beside(path, "part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tidy_up([path], ())
        yield part
        push_to_disk(part)
        patiently(lambda: os.replace(part, path))
        push_names_to_disk(path.parent)
    finally:
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


def push_to_disk(path: Path) -> None:
    """Have the system write what it still holds of a file, or of all files of a folder.

    A rename may reach the disk before the content does.
    """
    for at, _, names in os.walk(path):
        for name in names:
            push_to_disk(Path(at, name))
        push_names_to_disk(Path(at))
    if path.is_file():
        with path.open("r+b") as file:  # Windows pushes no file that is open to read
            os.fsync(file.fileno())


def push_names_to_disk(folder: Path) -> None:
    """Have the system write which files are in a folder, where it can."""
    with suppress(OSError):  # Windows opens no folder, and some network drives push none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
