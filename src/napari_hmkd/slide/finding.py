"""Which slides are meant by paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.suffixes import TIFF_SUFFIXES, VENDOR_SUFFIXES


def find_slides(paths: Sequence[str]) -> list[str]:
    """The slides that are meant: a folder that is none itself stands for those in it.

    Raises
    ------
    SlideError
        If a folder holds none.
    """
    found = []
    for path in paths:
        folder = Path(path)
        try:
            if "://" in path or not folder.is_dir() or _is_slide_folder(folder):
                found.append(path)
                continue
            inside = [one for one in sorted(folder.iterdir()) if _is_slide(one)]
        except OSError as error:
            raise SlideError(f"asked for the slides in {path}, but: {error}") from error
        if not inside:
            raise SlideError(
                f"asked for the slides in {path}, but there is none in it; give the slides' files, or a "
                "folder that holds them"
            )
        found += map(str, inside)
    return found


def _is_slide(path: Path) -> bool:
    if path.name.startswith("."):  # of macOS, beside each file on foreign disks
        return False
    return (
        _is_slide_folder(path)
        if path.is_dir()
        else path.suffix.lower() in VENDOR_SUFFIXES | TIFF_SUFFIXES
    )


def _is_slide_folder(folder: Path) -> bool:
    """Whether a folder is an OME-Zarr store or a DICOM slide."""
    try:
        names = os.listdir(folder)
    except OSError:  # nobody can read it
        return False
    store = bool({"zarr.json", ".zgroup", ".zattrs"} & set(names))
    return store or any(name.lower().endswith(".dcm") for name in names)
