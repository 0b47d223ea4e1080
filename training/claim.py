"""A folder that a command works in by pieces belongs to what was asked of it first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_hmkd.errors import OutputError
from napari_hmkd.training.run import write_json


def claim(folder: Path, record: str, wanted: Any, what: str) -> None:
    """Write the record into a new folder, or check that the folder's record is this one.

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
        If the folder holds something else or was begun otherwise, or cannot be made or read.
    """
    path = folder / record
    try:
        if path.is_file():
            if json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(wanted)):
                raise OutputError(
                    f"{folder} was begun with another size or another version of the program, and "
                    "their results must not be mixed: name a new folder"
                )
            return
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder} exists and is no {what}'s folder: name a new one")
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder} cannot be made or read: {error}. Name a new folder") from error
    write_json(path, wanted)
