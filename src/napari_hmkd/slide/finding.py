"""Which slides are meant by paths."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.dicom_folder import (
    DicomSlides,
    dicom_slides,
    is_instance,
    main_instances,
)
from napari_hmkd.slide.backends.ome_files import main_files
from napari_hmkd.slide.backends.parts_beside import MIRAX_SUFFIX, is_mirax_data, meant_by_data
from napari_hmkd.slide.backends.zarr_backend import is_zarr
from napari_hmkd.slide.suffixes import (
    ARCHIVE_SUFFIXES,
    STORE_SUFFIX,
    TIFF_SUFFIXES,
    VENDOR_SUFFIXES,
)
from napari_hmkd.wording import printable

Found = TypeVar("Found")

_LOG = logging.getLogger(__name__)
_NAMED = 8  # of what is left out; of the others how many


def find_slides(paths: Sequence[str]) -> list[str]:
    """The slides that are meant: a folder that is none itself stands for those in it.

    A DICOM slide and an OME-TIFF of several files are one slide each. What else lies in a folder is
    left out, with a warning; so is what may not be read in it.

    Raises
    ------
    SlideError
        If a folder holds none.
    """
    found: list[str] = []
    for path in paths:
        folder = Path(path)
        try:
            if "://" in path or not folder.is_dir() or _is_store(folder):
                found.append(path)
                continue
            if is_mirax_data(folder):
                raise SlideError(meant_by_data(folder))
            inside = _slides_in(folder)
        except OSError as error:
            raise SlideError(f"asked for the slides in {path}, but: {error}") from error
        if not inside:
            raise SlideError(
                f"asked for the slides in {path}, but there is none in it; give the slides' files, or a "
                "folder that holds them"
            )
        found += map(str, inside)
    return _without_parts(found)


def _slides_in(folder: Path) -> list[Path]:
    """The folder itself if it is one DICOM slide and nothing besides, or else the slides in it."""
    # A name with a dot is hidden; macOS puts such files beside all others on foreign disks.
    entries = [one for one in sorted(folder.iterdir()) if not one.name.startswith(".")]
    dicom = dicom_slides(folder)
    found, unreadable = _each(_slides_at, entries)
    others = [slide for slides in found.values() for slide in slides]
    if len(dicom.first_files) == 1 and not others:
        _tell_left_out(folder, list(unreadable), unreadable)
        return _dicom_of(folder, dicom)
    slides = sorted([*dicom.first_files, *dicom.unusable, *others])
    known = {*slides, *(slide.parent for slide in others), *dicom.files}
    left_out = [one for one in entries if one not in known and not _is_data(one)]
    _tell_left_out(folder, left_out, unreadable)
    return slides


def _each(
    look: Callable[[Path], Found], entries: Sequence[Path]
) -> tuple[dict[Path, Found], dict[Path, OSError]]:
    """What is found at each entry of a folder, and of those that may not be read, as `lost+found`, why."""
    found: dict[Path, Found] = {}
    unreadable: dict[Path, OSError] = {}
    for entry in entries:
        try:
            found[entry] = look(entry)
        except OSError as error:
            unreadable[entry] = error
    return found, unreadable


def _slides_at(entry: Path) -> list[Path]:
    """What an entry of a folder holds: nothing or one slide, or the DICOM slides of a subfolder."""
    if _is_slide(entry):
        return [entry]
    if not entry.is_dir():
        return []
    dicom = dicom_slides(entry)
    if dicom.files:
        beside = [one for one in sorted(entry.iterdir()) if one not in dicom.files]
        are_slides, unreadable = _each(_is_slide, beside)
        lost = [one for one in beside if one in unreadable or are_slides[one]]
        _tell_left_out(entry, lost, unreadable)
    return _dicom_of(entry, dicom)


def _dicom_of(folder: Path, dicom: DicomSlides) -> list[Path]:
    """The folder itself if its DICOM is one slide, or else a file of each."""
    if len(dicom.first_files) != 1:
        return [*dicom.first_files, *dicom.unusable]
    _tell_left_out(folder, dicom.unusable, {})
    return [folder]


def _is_slide(entry: Path) -> bool:
    """Whether it is by its name, or as a store, a slide by itself."""
    if entry.is_dir():
        return _is_store(entry)
    name = entry.name.lower()
    return entry.suffix.lower() in VENDOR_SUFFIXES | TIFF_SUFFIXES or name.endswith(
        ARCHIVE_SUFFIXES
    )


def _is_store(folder: Path) -> bool:
    """Whether a folder is an OME-Zarr store, or was to be one before its copy was cut off."""
    return is_zarr(folder) or folder.suffix.lower() == STORE_SUFFIX


def _is_data(entry: Path) -> bool:
    """Whether a folder holds the pixels of an MRXS beside it."""
    file = entry.with_name(entry.name + MIRAX_SUFFIX)
    return is_mirax_data(entry) or os.path.isfile(file)  # a name that is too long is none


def _without_parts(slides: list[str]) -> list[str]:
    """One file of each OME-TIFF or DICOM slide of several files."""
    local = [Path(one) for one in slides if "://" not in one]
    tiffs = [one for one in local if one.suffix.lower() in TIFF_SUFFIXES]
    instances = [one for one in local if is_instance(one)]
    mains = main_files(tiffs) if len(tiffs) > 1 else {}
    mains |= main_instances(instances) if len(instances) > 1 else {}
    for part, main in mains.items():
        _LOG.warning("'%s' is a part of the slide '%s', and is read with it", part, main.name)
    return [one for one in slides if Path(one) not in mains]


def _tell_left_out(
    folder: Path, entries: Sequence[Path], unreadable: Mapping[Path, OSError]
) -> None:
    if not entries:
        return
    reasons = {one: f" ({error.strerror or error})" for one, error in unreadable.items()}
    entries = sorted(entries, key=lambda one: one not in reasons)  # a reason is always said
    names = [f"'{printable(one.name)}'{reasons.get(one, '')}" for one in entries[:_NAMED]]
    more = f" and {len(entries) - _NAMED} more" if len(entries) > _NAMED else ""
    _LOG.warning("left out of the slides in '%s': %s%s", folder, ", ".join(names), more)
