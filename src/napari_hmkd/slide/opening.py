"""Which back end opens a path."""

from __future__ import annotations

import logging
from pathlib import Path

import openslide
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.slide import tiff_metadata
from napari_hmkd.slide.backend import Backend
from napari_hmkd.slide.openslide_backend import OpenSlideBackend
from napari_hmkd.slide.tiff_backend import TiffBackend
from napari_hmkd.slide.zarr_backend import ZarrBackend, is_zarr

_LOG = logging.getLogger(__name__)
_GENERIC = "generic-tiff"
_FORMATS = "SVS, NDPI, MRXS, SCN, BIF, DICOM, TIFF, OME-TIFF, OME-Zarr"


def open_backend(path: Path) -> Backend:
    """Open with the back end that suits the format; the content decides, not the suffix.

    Raises
    ------
    SlideError
        Nothing is there, it is no slide, it is damaged, or it cannot be graded.
    """
    try:
        return _open(path)
    except SlideError:
        raise
    except Exception as error:  # parsers break in many ways on a damaged structure
        raise SlideError(
            f"'{path}' cannot be opened: {error or type(error).__name__}. The file is damaged or "
            "may not be read; check its permissions, and copy or export it again."
        ) from error


def _open(path: Path) -> Backend:
    if not path.exists():
        raise SlideError(f"'{path}' does not exist. Check the path.")
    if is_zarr(path):
        return ZarrBackend(path)
    if path.is_dir():
        return OpenSlideBackend(_dicom_instance(path))
    if path.stat().st_size == 0:
        raise SlideError(f"'{path}' is empty (0 bytes). Copy it again from its source.")
    vendor = openslide.OpenSlide.detect_format(path)
    if vendor not in (None, _GENERIC):
        _require_whole_tiff(path)
        return OpenSlideBackend(path)
    return _open_tiff(path, readable_by_openslide=vendor == _GENERIC)


def _open_tiff(path: Path, readable_by_openslide: bool) -> Backend:
    """A TIFF of no vendor: tifffile, but for JPEG tiles, whose damage OpenSlide notices better."""
    if not _is_tiff(path):
        raise SlideError(
            f"'{path}' is no slide: OpenSlide knows no such format, and it has no TIFF header. "
            f"Opened are {_FORMATS}."
        )
    tiff = TiffBackend(path)
    if not (readable_by_openslide and tiff.for_openslide):
        return tiff
    tiff.close()
    return OpenSlideBackend(path)


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def _require_whole_tiff(path: Path) -> None:
    """Find out now, not in the middle of a run, that a TIFF-based vendor file was cut off."""
    if not _is_tiff(path):
        return
    try:
        with tifffile.TiffFile(path) as tiff:
            tiff_metadata.require_whole(tiff, tiff.series[0], path)
    except SlideError:
        raise
    except Exception as error:  # tifffile need not understand what OpenSlide reads
        _LOG.debug("'%s' was not checked for truncation: %s", path, error)


def _dicom_instance(folder: Path) -> Path:
    """Any file of the DICOM slide in a folder: OpenSlide finds the others.

    Raises
    ------
    SlideError
        The folder holds no whole-slide DICOM.
    """
    for path in sorted(folder.iterdir()):
        likely = path.is_file() and path.suffix.lower() in (".dcm", "")
        if likely and openslide.OpenSlide.detect_format(path) == "dicom":
            return path
    raise SlideError(
        f"'{folder}' is a folder, and neither an OME-Zarr store nor a whole-slide DICOM folder. "
        "Give the slide's file."
    )
