"""Which files of a folder hold the levels of a DICOM slide, and whether they can be read at all."""

from __future__ import annotations

import logging
from pathlib import Path

from pydicom.misc import is_dicom

from napari_hmkd.errors import SlideError
from napari_hmkd.slide.backends.dicom_body import read_body
from napari_hmkd.slide.backends.dicom_frames import Frames
from napari_hmkd.slide.backends.dicom_header import DicomHeader, read_header
from napari_hmkd.slide.backends.protocol import UndecodableError, piece_problem

VOLUME = "VOLUME"
"""What an image that is a level is called in its ImageType."""

_LOG = logging.getLogger(__name__)


def headers_in(folder: Path) -> list[DicomHeader]:
    """The DICOM images of a folder by the names of their files, in whatever series.

    A file whose header is not understood is left out, as OpenSlide does it.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    found = []
    for file in sorted(folder.iterdir()):
        try:
            if file.is_file() and is_dicom(file):
                found.append(read_header(file))
        except Exception as error:  # pydicom breaks in many ways on a damaged one
            _LOG.debug("'%s' has a header that is not understood: %s", file, error)
    return found


def volumes_beside(path: Path) -> list[DicomHeader]:
    """The levels of the slide that a file belongs to; labels and overviews are none.

    Raises
    ------
    OSError
        The folder cannot be read.
    SlideError
        A level is one over which OpenSlide can end the process.
    Exception
        The file's own header is not understood.
    """
    series = read_header(path).series
    volumes = [
        header
        for header in headers_in(path.parent)
        if header.series == series and header.kind == VOLUME
    ]
    for header in volumes:
        problem = piece_problem(header.tile)
        if header.organization not in ("", "TILED_FULL") and not header.places:
            problem = (
                f"as '{header.organization}' it has to tell where each frame lies, and does not"
            )
        if problem:
            raise SlideError(f"'{header.path}' is no slide that can be graded: {problem}.")
    return volumes


def require_sound(path: Path) -> None:
    """Check what OpenSlide does not, before it reads a slide.

    Raises
    ------
    OSError
        The folder cannot be read.
    SlideError
        A level was cut off, as by an interrupted copy, or its header is damaged.
    Exception
        As `volumes_beside`, `read_body` and `Frames`.
    """
    for header in volumes_beside(path):
        try:
            misleading = Frames(header, read_body(header)).misleading
        except UndecodableError as error:  # OpenSlide may know how it is stored
            _LOG.debug("'%s' was not checked: %s", header.path, error)
            continue
        if misleading:  # it can end the process
            raise SlideError(
                f"'{header.path}' is damaged: its offset table is not that of its frames in their "
                "order. Copy it again from its source."
            )
