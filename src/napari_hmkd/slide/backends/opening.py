"""Which back end opens a path, and why."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import openslide
import tifffile
from upath import UPath

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends import tiff_metadata
from napari_hmkd.slide.backends.fastslide_backend import FastSlideBackend
from napari_hmkd.slide.backends.location import is_remote, reason_of
from napari_hmkd.slide.backends.openslide_backend import OpenSlideBackend
from napari_hmkd.slide.backends.protocol import Backend
from napari_hmkd.slide.backends.tiff_backend import TiffBackend
from napari_hmkd.slide.backends.tiff_series import UndecodableError
from napari_hmkd.slide.backends.zarr_backend import ZarrBackend, is_zarr

_LOG = logging.getLogger(__name__)
_FORMATS = "SVS, NDPI, MRXS, SCN, BIF, DICOM, TIFF, OME-TIFF, OME-Zarr"
_FOR_TIFFFILE = ("aperio", "generic-tiff", None)
_DECODED = "a TIFF whose tiles tifffile decodes"
_CHECK_FILE = (
    "The file is damaged or may not be read; check its permissions, and copy or export it again."
)
_CHECK_NETWORK = "Look at the address, the network, the server and, for s3://, the credentials."


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
    if path.is_file() and path.stat().st_size == 0:
        raise SlideError(f"'{path}' is empty (0 bytes). Copy it again from its source.")


def _open_suited(path: Path | UPath) -> tuple[Backend, str]:
    if is_remote(path):
        return ZarrBackend(path), "the address of an OME-Zarr store"
    if is_zarr(path):
        return ZarrBackend(path), "an OME-Zarr store"
    file = _file_of(path)
    vendor = openslide.OpenSlide.detect_format(file)
    if vendor == "aperio":
        return _open_aperio(file)
    if vendor == "generic-tiff":
        return _open_generic(file)
    if vendor not in _FOR_TIFFFILE:
        return _open_openslide(file), f"the format '{vendor}', which OpenSlide reads best"
    if not is_tiff(file):
        raise SlideError(
            f"'{path}' is no slide: OpenSlide knows no such format, and it has no TIFF header. "
            f"Opened are {_FORMATS}."
        )
    return TiffBackend(file), _DECODED


def _open_aperio(path: Path) -> tuple[Backend, str]:
    """Most SVS go to tifffile; OpenSlide gets those of which tifffile cannot make sense."""
    try:
        return TiffBackend(path), "an Aperio SVS whose tiles tifffile decodes"
    except Exception as error:  # tifffile need not understand what OpenSlide reads
        opened = _open_openslide(path)
        return opened, f"an Aperio SVS that tifffile cannot read ({reason_of(error)})"


def _open_generic(path: Path) -> tuple[Backend, str]:
    """OpenSlide gets 8-bit colour in an unusual form; of all else it would make some picture."""
    try:
        return TiffBackend(path), _DECODED
    except UndecodableError as error:
        try:
            opened = _open_openslide(path)
        except SlideError:
            raise error from None
        return opened, f"a TIFF that tifffile cannot decode ({error})"


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
    file = _file_of(_local(path))
    _require_whole_tiff(file)
    return OpenSlideBackend(file)


def _open_tifffile(path: Path | UPath) -> Backend:
    file = _local(path)
    if file.is_dir() or not is_tiff(file):
        raise SlideError("it has no TIFF header.")
    vendor = openslide.OpenSlide.detect_format(file)
    if vendor not in _FOR_TIFFFILE:
        raise SlideError(f"only OpenSlide knows how '{vendor}' keeps its tiles in a TIFF.")
    return TiffBackend(file)


def _open_zarr(path: Path | UPath) -> Backend:
    if not is_remote(path) and not is_zarr(path):
        raise SlideError("it is no zarr store.")
    return ZarrBackend(path)


def _open_fastslide(path: Path | UPath) -> Backend:
    file = _file_of(_local(path))
    _require_whole_tiff(file)
    return FastSlideBackend(file)


BACKENDS: dict[str, Callable[[Path | UPath], Backend]] = {
    "openslide": _open_openslide,
    "tifffile": _open_tifffile,
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


def _require_whole_tiff(path: Path) -> None:
    """Find out now, not in the middle of a run, that a TIFF-based vendor file was cut off."""
    if not is_tiff(path):
        return
    try:
        with tifffile.TiffFile(path) as tiff:
            tiff_metadata.require_whole(tiff, tiff.series[0], path)
    except SlideError:
        raise
    except Exception as error:  # tifffile need not understand what OpenSlide reads
        _LOG.debug("'%s' was not checked for truncation: %s", path, error)


def _file_of(path: Path) -> Path:
    """The file itself; of a folder any file of the DICOM slide in it: OpenSlide finds the others.

    Raises
    ------
    SlideError
        The folder holds no whole-slide DICOM, or several.
    """
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
