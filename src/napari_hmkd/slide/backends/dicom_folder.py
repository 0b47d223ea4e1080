"""Which file stands for a DICOM slide, of which others lie in the same folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import openslide

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.dicom_volumes import VOLUME, headers_in, volumes_beside

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DicomSlides:
    """The whole-slide DICOM of a folder.

    Attributes
    ----------
    files : tuple of Path
        All of it, sorted.
    first_files : tuple of Path
        One of each slide.
    unusable : tuple of Path
        Those that are no slide, as they are damaged, or a label alone.
    """

    files: tuple[Path, ...]
    first_files: tuple[Path, ...]
    unusable: tuple[Path, ...]


def dicom_slides(folder: Path) -> DicomSlides:
    """Look for whole-slide DICOM in a folder, but not in those below.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    instances = [file for file in sorted(folder.iterdir()) if is_instance(file)]
    series = _series_of(instances)
    firsts = {uid: file for file, uid in reversed(series.items())}
    return DicomSlides(
        tuple(instances),
        tuple(sorted(firsts.values())),
        tuple(file for file in instances if file not in series),
    )


def main_instances(files: Sequence[Path]) -> dict[Path, Path]:
    """Of each further file of a DICOM slide the first one in the same folder, which stands for the slide."""
    firsts: dict[tuple[Path, str], Path] = {}
    mains: dict[Path, Path] = {}
    for file, uid in _series_of(files).items():
        first = firsts.setdefault((file.parent, uid), file)
        if first != file:
            mains[file] = first
    return mains


def is_instance(file: Path) -> bool:
    """Whether a file is a part of a whole-slide DICOM; archives export them without a suffix."""
    ending = file.suffix[1:].lower()  # of a bare UID, its last number
    likely = ending in ("", "dcm", "dicom") or ending.isdigit()
    # pathlib raises over a link to where one may not look.
    return likely and os.path.isfile(file) and openslide.OpenSlide.detect_format(file) == "dicom"


def file_of(path: Path) -> Path:
    """The file itself; of a folder any file of the DICOM slide in it.

    Of a link to a DICOM file it is what has the others beside it: the link or the file.

    Raises
    ------
    SlideError
        The folder holds no whole-slide DICOM, or several.
    """
    if path.is_symlink() and path.is_file() and openslide.OpenSlide.detect_format(path) == "dicom":
        return max(path, path.resolve(), key=_levels_of)
    if not path.is_dir():
        return path
    slides = dicom_slides(path)
    if len(slides.first_files) > 1:
        names = ", ".join(f"'{file.name}'" for file in slides.first_files)
        raise SlideError(
            f"'{path}' holds {len(slides.first_files)} DICOM slides. Give one file of the slide that is "
            f"meant: {names}."
        )
    if not slides.files:
        raise SlideError(
            f"'{path}' is a folder, and neither an OME-Zarr store nor a whole-slide DICOM folder. "
            "Give the slide's file."
        )
    return (*slides.first_files, *slides.unusable)[0]


def level_files(path: Path) -> list[Path]:
    """The files of a DICOM slide's levels, the largest level first, of its folder or any of its files.

    Raises
    ------
    OSError
        They cannot be read.
    SlideError
        As `file_of` and `volumes_beside`.
    """
    sizes = {
        image.path: (-image.size.height * image.size.width, image.path.stat().st_size)
        for image in volumes_beside(file_of(path))
    }
    return sorted(sizes, key=lambda file: (sizes[file], file))


def _series_of(files: Sequence[Path]) -> dict[Path, str]:
    """The DICOM series of each file that has a level beside it; not of those that are damaged."""
    found: dict[Path, str] = {}
    for folder in {file.parent: None for file in files}:
        try:
            headers = headers_in(folder)
        except OSError as error:
            _LOG.debug("'%s' cannot be listed: %s", folder, error)
            continue
        slides = {header.series for header in headers if header.kind == VOLUME}
        found |= {one.path: one.series for one in headers if one.series in slides}
    return {file: found[file] for file in files if file in found}


def _levels_of(instance: Path) -> int:
    """How many levels lie beside an instance."""
    try:
        return len(volumes_beside(instance))
    except Exception as error:  # a damaged header breaks its parser in many ways
        _LOG.debug("'%s' does not open: %s", instance, error)
        return 0
