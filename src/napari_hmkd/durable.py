"""Whole files or none, on the disk before they take their place: what is there survives a power cut."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Write a new file beside the target, which takes its place only if all went well.

    Its folder is made. Runs side by side each write a file of their own; the last one stays.

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
        yield part
        push_to_disk(part)
        os.replace(part, path)
        push_names_to_disk(path.parent)
    finally:
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


def hidden_beside(path: Path, suffix: str) -> Path:
    """A new hidden name in the same folder, that tells whose it is; a name itself may be too long."""
    return path.parent / f".{name_tag(path)}-{uuid4().hex}.{suffix}"


def name_tag(path: Path) -> str:
    """16 hex digits for a file's name."""
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]


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
