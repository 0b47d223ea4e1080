"""Whether the files of an open slide are still those that were opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from upath import UPath

from napari_hmkd.errors import SlideReadError
from napari_hmkd.slide.backends.location import is_remote

FileStates = Mapping[Path, tuple[int, int]]
"""Size in bytes and time of the last change, ns, of each file."""


def states_of(paths: Iterable[Path | UPath]) -> FileStates:
    """The state of each path that is a file: a folder's time changes with whatever a system leaves in it."""
    local = [Path(str(path)) for path in paths if not is_remote(path)]
    return {path: _state(path) for path in local if path.is_file()}


def require_unchanged(states: FileStates) -> None:
    """Refuse files that are others by now: the pixels of an open slide are still the former ones'.

    Parameters
    ----------
    states : mapping of Path to tuple of int
        As `states_of` gave them.

    Raises
    ------
    SlideReadError
        One was replaced or written to.
    OSError
        One has gone.
    """
    for path, state in states.items():
        if _state(path) != state:
            raise SlideReadError(
                f"'{path}' was replaced or written to since it was opened, so that what is shown and what "
                "the file holds may be two slides: close it (in napari, remove its layer) and open it again."
            )


def _state(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns
