"""Which back end opens a path, and why."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import openslide
import tifffile
from pydicom.misc import is_dicom
from upath import UPath

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends import tiff_metadata
from napari_hmkd.slide.backends.dicom_backend import DicomBackend
from napari_hmkd.slide.backends.dicom_folder import file_of
from napari_hmkd.slide.backends.dicom_pyramid import placed_levels
from napari_hmkd.slide.backends.dicom_volumes import require_sound, volumes_beside
from napari_hmkd.slide.backends.fastslide_backend import FastSlideBackend
from napari_hmkd.slide.backends.location import is_remote, reason_of
from napari_hmkd.slide.backends.openslide_backend import OpenSlideBackend
from napari_hmkd.slide.backends.parts_beside import is_mirax_data, meant_by_data, mirax_problem
from napari_hmkd.slide.backends.protocol import Backend, UndecodableError
from napari_hmkd.slide.backends.sakura_checks import require_sound_database
from napari_hmkd.slide.backends.tiff_backend import TiffBackend
from napari_hmkd.slide.backends.tiff_series import first_image, require_no_label_as_level
from napari_hmkd.slide.backends.zarr_archive import is_zip
from napari_hmkd.slide.backends.zarr_backend import ZarrBackend, is_zarr
from napari_hmkd.slide.suffixes import STORE_SUFFIX, VENDOR_SUFFIXES

Placed = TypeVar("Placed", OpenSlideBackend, FastSlideBackend)

_LOG = logging.getLogger(__name__)
_FORMATS = "SVS, NDPI, MRXS, SCN, BIF, VMS, VMU, SVSLIDE, CZI, AVS, DICOM, TIFF, OME-TIFF, OME-Zarr"
_FOR_TIFFFILE = ("aperio", "generic-tiff", None)
_CHECK_FILE = (
    "The file is damaged or may not be read; check its permissions, and copy or export it again."
)
_CHECK_NETWORK = (
    "Look at the address, the network, the server and the credentials, which for http(s):// stand in ~/.netrc "
    "(~/_netrc on Windows)."
)


def open_backend(path: Path | UPath, backend: str | None = None) -> tuple[Backend, str]:
    """Open with the back end that suits the content (the suffix does not matter), or the one asked for.

    Parameters
    ----------
    path : Path or UPath
        As `location.locate` gives it.
    backend : str, optional
        One of `BACKENDS`, to insist on it.

    Returns
    -------
    The open back end, and the reason why it is this one, for people.

    Raises
    ------
    SlideError
        Nothing is there, it is no slide, it is damaged, it cannot be graded, or the back end that
        was asked for is unknown, not installed, or cannot open it.
    """
    if backend is not None and backend not in BACKENDS:
        raise SlideError(f"There is no back end '{backend}'; there are {', '.join(BACKENDS)}.")
    try:
        _require_content(path)
        with tiff_metadata.without_raw_messages():
            return _open_suited(path) if backend is None else _open_forced(path, backend)
    except SlideError:
        raise
    except Exception as error:  # parsers break in many ways on a damaged structure
        advice = _CHECK_NETWORK if is_remote(path) else _CHECK_FILE
        raise SlideError(f"'{path}' cannot be opened: {reason_of(error)}. {advice}") from error


def _require_content(path: Path | UPath) -> None:
    if is_remote(path):
        return  # only a store has files that can be asked for
    if not path.exists():
        raise SlideError(f"'{path}' does not exist. Check the path.")
    if path.is_file():
        if path.stat().st_size == 0:
            raise SlideError(f"'{path}' is empty (0 bytes). Copy it again from its source.")
        require_sound_database(Path(path))


def _open_suited(path: Path | UPath) -> tuple[Backend, str]:
    if is_remote(path):
        return ZarrBackend(path), "the address of an OME-Zarr store"
    if is_zarr(path):
        return ZarrBackend(path), "an OME-Zarr store"
    if is_zip(path):
        return ZarrBackend(path), "an OME-Zarr store in a ZIP file"
    if path.is_dir() and path.suffix.lower() == STORE_SUFFIX:
        raise SlideError(
            f"'{path}' is a zarr store by its name, but has no metadata (zarr.json, .zattrs or .zgroup): it was "
            "not copied whole. Copy it again from its source."
        )
    if is_mirax_data(path):
        raise SlideError(meant_by_data(path))
    file = file_of(path)
    vendor = openslide.OpenSlide.detect_format(file)
    if vendor == "aperio":  # OpenSlide knows its oddities
        return _open_own(TiffBackend, file, "an Aperio SVS", "tifffile", Exception)
    if vendor == "dicom":
        return _open_own(DicomBackend, file, "a DICOM slide", "pydicom", UndecodableError)
    if vendor not in _FOR_TIFFFILE:
        return _open_openslide(file), f"the format '{vendor}', which OpenSlide reads best"
    if is_tiff(file):  # of all else than unusual colours OpenSlide would make some picture
        return _open_own(TiffBackend, file, "a TIFF", "tifffile", UndecodableError)
    raise SlideError(_no_slide(path))


def _open_own(
    own: Callable[[Path], Backend], path: Path, what: str, name: str, passed_on: type[Exception]
) -> tuple[Backend, str]:
    """Open with a back end that decodes tiles itself, or with OpenSlide after an error that is passed on."""
    try:
        opened = own(path)
    except passed_on as error:
        try:
            other = _open_openslide(path)
        except SlideError as refusal:
            if not isinstance(error, UndecodableError):
                raise
            raise SlideError(
                f"'{path}' cannot be read: {error} Nor can OpenSlide read it: {refusal}"
            ) from refusal
        return other, f"{what} that {name} cannot read ({reason_of(error)})"
    return opened, f"{what} whose tiles {name} decodes"


def _no_slide(path: Path) -> str:
    """What to tell about a file that nothing reads."""
    if problem := mirax_problem(path):
        return problem
    if is_dicom(path):
        return (
            f"'{path}' is DICOM, and no whole-slide image; a DICOMDIR only lists files. Give a file of the "
            "slide, or the folder in which they lie."
        )
    advice = f"Opened are {_FORMATS}."
    if path.suffix.lower() in VENDOR_SUFFIXES:
        advice = "By its name it is one: it may have been cut off. Copy it again from its source."
    return (
        f"'{path}' is no slide: OpenSlide knows no such format, and it has no TIFF header. {advice}"
    )


def _open_forced(path: Path | UPath, name: str) -> tuple[Backend, str]:
    try:
        opened = BACKENDS[name](path)
    except Exception as error:  # whatever it is, the user hears what would have worked
        raise SlideError(
            f"'{path}' cannot be opened with {name}, which was asked for: {reason_of(error)} "
            f"{_alternative(path)}"
        ) from error
    if name != "fastslide":
        return opened, "asked for"
    return opened, "asked for, and it agrees with OpenSlide; unlike the others it can miss damage"


def _alternative(path: Path | UPath) -> str:
    """What a user can do whose back end did not work."""
    try:
        opened, reason = _open_suited(path)
    except Exception as error:
        return f"Nor can another back end: {reason_of(error)}"
    opened.close()
    return f"Without being told, {opened.name} opens it: {reason}."


def _open_openslide(path: Path | UPath) -> Backend:
    file = _checked(path)
    return _placed(OpenSlideBackend(file), file)


def _open_tifffile(path: Path | UPath) -> Backend:
    file = _local(path)
    if file.is_dir() or not is_tiff(file):
        raise SlideError("it has no TIFF header.")
    vendor = openslide.OpenSlide.detect_format(file)
    if vendor not in _FOR_TIFFFILE:
        raise SlideError(f"only OpenSlide knows how '{vendor}' keeps its tiles in a TIFF.")
    return TiffBackend(file)


def _open_pydicom(path: Path | UPath) -> Backend:
    file = file_of(_local(path))
    if openslide.OpenSlide.detect_format(file) != "dicom":
        raise SlideError("it is no whole-slide DICOM.")
    return DicomBackend(file)


def _open_zarr(path: Path | UPath) -> Backend:
    if not (is_remote(path) or is_zarr(path) or is_zip(path)):
        raise SlideError("it is no zarr store.")
    return ZarrBackend(path)


def _open_fastslide(path: Path | UPath) -> Backend:
    file = _checked(path)
    return _placed(FastSlideBackend(file), file)


def _placed(opened: Placed, file: Path) -> Placed:
    """With DICOM's levels where they lie, which OpenSlide and fastslide tell by their sizes alone."""
    if opened.vendor == "dicom":
        try:
            opened.levels = placed_levels(opened.levels, volumes_beside(file), file.name)
        except SlideError:
            opened.close()
            raise
    return opened


BACKENDS: dict[str, Callable[[Path | UPath], Backend]] = {
    "openslide": _open_openslide,
    "tifffile": _open_tifffile,
    "pydicom": _open_pydicom,
    "zarr": _open_zarr,
    "fastslide": _open_fastslide,
}
"""Every back end by name; fastslide is never chosen, only asked for."""


def _local(path: Path | UPath) -> Path:
    if is_remote(path):
        raise SlideError("only zarr reads addresses.")
    return Path(path)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF or BigTIFF does."""
    with path.open("rb") as file:
        return file.read(4) in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def _checked(path: Path | UPath) -> Path:
    """The file for OpenSlide or fastslide, after what they do not check.

    Now, and not in the middle of a run, it is found out that a file based on TIFF or DICOM was cut off;
    a label in tiles would be shown; and of a TIFF of no known vendor any picture.
    """
    file = file_of(_local(path))
    vendor = openslide.OpenSlide.detect_format(file)
    if vendor == "dicom":
        require_sound(file)
    if vendor == "dicom" or not is_tiff(file):
        return file
    generic = vendor == "generic-tiff"
    try:
        with tifffile.TiffFile(file) as tiff:
            if vendor in _FOR_TIFFFILE:
                require_no_label_as_level(tiff, file)
            shown = first_image(tiff, file) if generic else None
            tiff_metadata.require_whole(tiff, file, shown)
    except Exception as error:
        if generic or isinstance(error, SlideError):
            raise
        # tifffile need not understand what OpenSlide reads
        _LOG.debug("'%s' was not checked: %s", file, error)
    return file
