"""Stamps, size and time, by which an open slide's files are known to be those that were opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from upath import UPath

from napari_hmkd.errors import SlideReadError
from napari_hmkd.slide.backends.dicom_folder import level_files
from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.slide.backends.protocol import Backend

FileStamps = Mapping[Path, tuple[int, int]]
"""Size in bytes and time of the last change, ns, of each file."""


def pixel_files(path: Path | UPath, opened: Backend) -> tuple[Path | UPath, ...]:
    """The files in which an open slide's pixels lie: of DICOM its levels', of a store its folder."""
    if opened.vendor == "dicom":
        return tuple(level_files(Path(str(path))))
    return (path, *opened.files_beside)


def stamps_of(paths: Iterable[Path | UPath]) -> FileStamps:
    """The stamp of each path that is a file: a folder's time changes with whatever a system leaves in it.

    Raises
    ------
    OSError
        A path is not there, or cannot be asked for.
    """
    local = [Path(str(path)) for path in paths if not is_remote(path)]
    found = {path: path.stat() for path in local}
    return {path: _stamp(about) for path, about in found.items() if stat.S_ISREG(about.st_mode)}


def require_unchanged(stamps: FileStamps) -> None:
    """Refuse files that are others by now: the pixels of an open slide are still the former ones'.

    A file that was only touched is refused, too: what it held was not read when it was opened.

    Parameters
    ----------
    stamps : mapping of Path to tuple of int
        As `stamps_of` gave them.

    Raises
    ------
    SlideReadError
        One was replaced, written to or touched.
    OSError
        One has gone.
    """
    for path, stamp in stamps.items():
        if _stamp(path.stat()) != stamp:
            raise SlideReadError(
                f"'{path}' was replaced, written to or touched since it was opened, so that what is shown and "
                "what the file holds may be two slides: close it (in napari, remove its layer) and open it again."
            )


def _stamp(about: os.stat_result) -> tuple[int, int]:
    return about.st_size, about.st_mtime_ns
