"""What a file of a DICOM slide says about itself, read no further than what is told of each frame.

Values are taken as they are stored: pydicom's conversion warns of every slip in a header.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.datadict import tag_for_keyword
from pydicom.filereader import data_element_generator
from pydicom.uid import UID

from napari_hmkd.geometry import Size
from napari_hmkd.slide.backends.protocol import UndecodableError

PER_FRAME = 0x52009230
"""PerFrameFunctionalGroupsSequence, the last element before the pixels, and a long one."""

_PER_FRAME_STORED = bytes.fromhex("00523092")
_KEYWORDS = (
    "TransferSyntaxUID", "ImageType", "SeriesInstanceUID", "PhotometricInterpretation",
    "DimensionOrganizationType", "NumberOfFrames", "Rows", "Columns", "TotalPixelMatrixRows",
    "TotalPixelMatrixColumns", "TotalPixelMatrixFocalPlanes", "NumberOfOpticalPaths",
    "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation", "PlanarConfiguration",
)  # fmt: skip
_SPACING = re.compile(rb"\x28\0\x30\0(?:DS(..)|(..)\0\0)", re.DOTALL)
"""PixelSpacing, and its length, in an explicit and an implicit header."""

_SHARED_BYTES = 2**14
"""What is told of all frames at once is short, and the last before `PER_FRAME`."""

_PREAMBLE_BYTES = 132
_META_END = 0x00030000
IMPLICIT = "1.2.840.10008.1.2"
"""The transfer syntax of uncompressed pixels behind a header that does not tell its values' kinds."""

_OTHERWISE = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
"""Transfer syntaxes of deflated and big-endian headers."""


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """What one file says of its pixels.

    Attributes
    ----------
    path : Path
        The file.
    end : int
        Where what is told of each frame begins, or the pixels.
    syntax, series, photometric, organization : str
        TransferSyntaxUID, SeriesInstanceUID, PhotometricInterpretation, DimensionOrganizationType.
    kind : str
        The third value of ImageType: VOLUME, LABEL, OVERVIEW, THUMBNAIL.
    size, tile : Size
        Of the whole image, and of a frame.
    frames : int
        How many it has.
    layers : int
        Focal planes times optical paths.
    samples, bits, used_bits : int
        SamplesPerPixel, BitsAllocated, BitsStored.
    signed, planar : bool
        PixelRepresentation, and PlanarConfiguration: each colour is a plane of its own.
    places : bool
        It tells of each frame by itself; sparse images have to.
    spacing_mm : tuple of float, or None
        Height and width of a pixel, where they are told of all frames at once.
    """

    path: Path
    end: int
    syntax: str
    series: str
    photometric: str
    organization: str
    kind: str
    size: Size
    tile: Size
    frames: int
    layers: int
    samples: int
    bits: int
    used_bits: int
    signed: bool
    planar: bool
    places: bool
    spacing_mm: tuple[float, float] | None


def read_header(path: Path) -> DicomHeader:
    """Read as far as to what is told of each frame.

    Raises
    ------
    OSError
        The system cannot read the file.
    UndecodableError
        It is coded in another way than slides are.
    Exception
        pydicom does not understand it, or it lacks what an image needs.
    """
    with path.open("rb") as file:
        file.seek(_PREAMBLE_BYTES)
        found = read_elements(file, [_tag("TransferSyntaxUID")], _META_END)
        if (syntax := _text(found, "TransferSyntaxUID")) in _OTHERWISE:
            raise UndecodableError(f"its header is in the transfer syntax {UID(syntax).name}.")
        found |= read_elements(file, map(_tag, _KEYWORDS), PER_FRAME, syntax == IMPLICIT)
        end = file.tell()
        places = file.read(4) == _PER_FRAME_STORED
        spacing_mm = _spacing_mm(file, end)
    kind = _text(found, "ImageType").split("\\")
    return DicomHeader(
        path=path,
        end=end,
        syntax=syntax,
        series=_text(found, "SeriesInstanceUID"),
        photometric=_text(found, "PhotometricInterpretation"),
        organization=_text(found, "DimensionOrganizationType"),
        kind=kind[2].strip() if len(kind) > 2 else "",
        size=Size(
            _number(found, "TotalPixelMatrixRows"), _number(found, "TotalPixelMatrixColumns")
        ),
        tile=Size(_number(found, "Rows"), _number(found, "Columns")),
        frames=int(_text(found, "NumberOfFrames") or 1),
        layers=_number(found, "TotalPixelMatrixFocalPlanes", 1)
        * _number(found, "NumberOfOpticalPaths", 1),
        samples=_number(found, "SamplesPerPixel", 3),
        bits=_number(found, "BitsAllocated", 8),
        used_bits=_number(found, "BitsStored", 8),
        signed=bool(_number(found, "PixelRepresentation")),
        planar=bool(_number(found, "PlanarConfiguration")),
        places=places,
        spacing_mm=spacing_mm,
    )


def read_elements(
    file: BinaryIO, tags: Iterable[int], end: int, implicit: bool = False
) -> dict[int, bytes]:
    """Some elements from here on, as they are stored; the file is left at the first tag from `end` on."""
    elements = data_element_generator(
        file, is_implicit_VR=implicit, is_little_endian=True,
        stop_when=lambda tag, *_: tag >= end, specific_tags=[*tags],
    )  # fmt: skip
    return {int(one.tag): one.value for one in elements if isinstance(one.value, bytes)}


def _spacing_mm(file: BinaryIO, end: int) -> tuple[float, float] | None:
    """Height and width of a pixel, from the last bytes of a header that ends there."""
    file.seek(max(0, end - _SHARED_BYTES))
    told = file.read(min(end, _SHARED_BYTES))
    for found in _SPACING.finditer(told):
        value = told[found.end() :][: int.from_bytes(found[1] or found[2], "little")]
        try:
            height, width = map(float, value.split(b"\\"))
        except ValueError:
            continue
        if 0 < height < math.inf and 0 < width < math.inf:
            return height, width
    return None


def _text(found: dict[int, bytes], keyword: str) -> str:
    return found.get(_tag(keyword), b"").decode("latin-1").strip(" \0")


def _number(found: dict[int, bytes], keyword: str, missing: int = 0) -> int:
    value = found.get(_tag(keyword))
    return int.from_bytes(value, "little") if value else missing


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag
