"""A run folder has one run at a time: two would spoil each other's checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_hmkd.errors import OutputError
from napari_hmkd.leftovers import taken
from napari_hmkd.training.files import is_partial

LOCK_FILE = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, which must exist, as long as a run works in it.

    A killed run gives it back, too, and what it left of a file is removed then: of a checkpoint it can
    be large. Of the processes of one run, the first holds the folder for all.

    Raises
    ------
    OutputError
        If another run is at work there.
    """
    with taken(folder / LOCK_FILE, patience_s=0) as ours:
        if not ours:
            raise OutputError(
                f"another run is at work in {folder}: wait until it has ended or stop it, or name "
                "another folder"
            )
        _remove_partials(folder)
        yield


def _remove_partials(folder: Path) -> None:
    """Remove what killed processes left of files, here and below, but in folders that runs hold by themselves."""
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not (Path(place) / name / LOCK_FILE).exists()]
        for name in filter(is_partial, names):
            with suppress(OSError):  # it is in nobody's way
                (Path(place) / name).unlink()
