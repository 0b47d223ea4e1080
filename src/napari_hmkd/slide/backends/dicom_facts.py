"""What a DICOM slide says about itself, where OpenSlide does not open it: its pixels are in a coding of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from napari_hmkd.slide.backends.dicom_header import PER_FRAME, DicomHeader
from napari_hmkd.slide.backends.pixel_size import PixelSize, from_sides
from napari_hmkd.slide.backends.protocol import Level, longer_ratio

_TAGS: list[BaseTag | int] = [Tag("AcquisitionDateTime"), Tag("OpticalPathSequence")]


@dataclass(frozen=True, slots=True)
class DicomFacts:
    """As `OpenSlideBackend` has them; of the header no more than is shown, as the rest can name a patient."""

    levels: tuple[Level, ...]
    properties: Mapping[str, str]
    pixel_sizes: tuple[PixelSize, ...]
    icc_profile: bytes | None
    vendor: str = "dicom"
    origin_px: tuple[int, int] = (0, 0)


def read_facts(images: Sequence[DicomHeader]) -> DicomFacts:
    """What the headers of a slide's levels say.

    Raises
    ------
    OSError
        The system cannot read the largest one's file.
    Exception
        pydicom does not understand its header.
    """
    base, *smaller = sorted(images, key=lambda one: -one.size.height * one.size.width)
    levels = [Level(one.size, longer_ratio(base.size, one.size), one.tile) for one in smaller]
    with base.path.open("rb") as file:
        said = read_partial(file, lambda tag, *_: tag >= PER_FRAME, specific_tags=_TAGS)
    light = next(iter(said.get("OpticalPathSequence") or [Dataset()]))
    properties = {
        "dicom.AcquisitionDateTime": said.get("AcquisitionDateTime"),
        "openslide.objective-power": light.get("ObjectiveLensPower"),
    }
    y, x = base.spacing_mm or (None, None)
    known = from_sides(y and 1000 * y, x and 1000 * x, "DICOM PixelSpacing")
    return DicomFacts(
        levels=(Level(base.size, 1.0, base.tile), *levels),
        properties={name: str(value) for name, value in properties.items() if value},
        pixel_sizes=() if known is None else (known,),
        icc_profile=light.get("ICCProfile"),
    )
