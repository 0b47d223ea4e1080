"""Which file of a DICOM slide is handed to OpenSlide, which finds the others in the same folder."""

from __future__ import annotations

import logging
from pathlib import Path

import openslide

from napari_hmkd.errors import SlideError

_LOG = logging.getLogger(__name__)


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
    slides: dict[str | None, Path] = {}
    for file in sorted(path.iterdir()):
        likely = file.is_file() and file.suffix.lower() in (".dcm", "")
        if likely and openslide.OpenSlide.detect_format(file) == "dicom":
            slides.setdefault(_series_of(file), file)
    if len(slides) > 1:
        slides.pop(None, None)
    if len(slides) > 1:
        names = ", ".join(f"'{file.name}'" for file in slides.values())
        raise SlideError(
            f"'{path}' holds {len(slides)} DICOM slides. Give one file of the slide that is meant: "
            f"{names}."
        )
    for file in slides.values():
        return file
    raise SlideError(
        f"'{path}' is a folder, and neither an OME-Zarr store nor a whole-slide DICOM folder. "
        "Give the slide's file."
    )


def _series_of(instance: Path) -> str | None:
    """The DICOM series that an instance belongs to; None where OpenSlide cannot open it."""
    try:
        with openslide.OpenSlide(instance) as slide:
            return slide.properties.get("dicom.SeriesInstanceUID")
    except openslide.OpenSlideError as error:
        _LOG.debug("'%s' does not tell its series: %s", instance, error)
        return None


def _levels_of(instance: Path) -> int:
    """How many levels OpenSlide finds from an instance on."""
    try:
        with openslide.OpenSlide(instance) as slide:
            return int(slide.level_count)
    except openslide.OpenSlideError as error:
        _LOG.debug("'%s' does not open: %s", instance, error)
        return 0
