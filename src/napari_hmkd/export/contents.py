"""Whether a result folder still holds what was written into it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LISTED_AS = "files"
"""The entry of `summary.json` that lists the other files."""


def list_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of every file of a folder, by its path in it."""
    files = sorted(Path(at, name) for at, _, names in os.walk(folder) for name in names)
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in files
    }


def is_whole(folder: Path, summary: Mapping[str, Any]) -> bool:
    """Whether no file of results is missing, emptied or cut off; the files are not read.

    Parameters
    ----------
    folder : Path
        Of one slide's results.
    summary : mapping
        What its `summary.json` says; results without that list are not whole.
    """
    try:
        listed = summary[LISTED_AS].items()
        return all((folder / name).stat().st_size == of["bytes"] for name, of in listed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # gone, or no such list
        return False


def changed_files(folder: Path, listed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Which of the files that `list_files` found are not there as they were, in order.

    Raises
    ------
    OSError
        One cannot be read.
    """
    return [name for name, of in listed.items() if not _is_same(folder / name, of["sha256"])]


def _is_same(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
