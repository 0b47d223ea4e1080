"""A folder that a command works in by pieces: it belongs to what was asked first, and to one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_hmkd.errors import OutputError
from napari_hmkd.training.files import is_partial
from napari_hmkd.training.folder_lock import LOCK_FILE, alone_in
from napari_hmkd.training.run import write_json


@contextmanager
def claimed(folder: Path, record: str, wanted: Any, what: str) -> Iterator[None]:
    """Work alone in a new folder, which gets the record, or in one whose record is this one.

    Parameters
    ----------
    folder : Path
        New, empty, or one that was claimed before.
    record : str
        Name of the record's file.
    wanted : object
        All that the folder's content depends on, as plain values; their JSON is compared.
    what : str
        Whose folder it is, for messages.

    Raises
    ------
    OutputError
        If the folder holds something else or was begun otherwise, cannot be made or read, or
        another process is at work in it.
    """
    path = folder / record
    try:
        if not path.is_file() and folder.exists() and not _is_free(folder, record):
            raise OutputError(f"{folder} exists and is no {what}'s folder: name a new one")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error
    with alone_in(folder):
        if path.is_file():
            _require_same(path, wanted)
        else:
            write_json(path, wanted)
        yield


def _is_free(folder: Path, record: str) -> bool:
    """Whether it is a folder without content, but for what a process left that was killed at its start."""
    return folder.is_dir() and all(
        path.name == LOCK_FILE or (path.name.startswith(record) and is_partial(path.name))
        for path in folder.iterdir()
    )


def _require_same(path: Path, wanted: Any) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unusable(path.parent, error) from error
    if found != json.loads(json.dumps(wanted)):
        raise OutputError(
            f"{path.parent} was begun with another size or another version of the program, and "
            "their results must not be mixed: name a new folder"
        )


def _unusable(folder: Path, error: Exception) -> OutputError:
    return OutputError(f"{folder} cannot be made or read: {error}. Name a new folder")
