"""DICOM slides: OpenSlide reads what most of them say, and each frame is decoded by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_hmkd.geometry import Region
from napari_hmkd.slide.backends.dicom_facts import DicomFacts, read_facts
from napari_hmkd.slide.backends.dicom_header import DicomHeader
from napari_hmkd.slide.backends.dicom_level import DicomLevel
from napari_hmkd.slide.backends.dicom_pyramid import placed_levels
from napari_hmkd.slide.backends.dicom_volumes import volumes_beside
from napari_hmkd.slide.backends.openslide_backend import OpenSlideBackend
from napari_hmkd.slide.backends.protocol import Level, UndecodableError
from napari_hmkd.slide.backends.tile_files import TileFiles


class DicomBackend:
    """Decodes the frames that a region touches, and no others; all else is as OpenSlide has it.

    OpenSlide opens what it would read: 8-bit colour of one series, whose levels it finds by their
    ImageType. Its labels and overviews are never asked for. Where levels lie is told by their pixel
    spacing, too; see `placed_levels`. What is coded in a way that OpenSlide does not know is told by
    the headers alone.
    """

    name = "pydicom"
    warnings = ()
    files_beside = ()

    def __init__(self, path: Path) -> None:
        volumes = volumes_beside(path)
        found = _levels_of(volumes)  # before OpenSlide, which can end the process over damage
        reference = _told(path, volumes, found)
        self.vendor = reference.vendor
        self.properties = reference.properties
        self.pixel_sizes = reference.pixel_sizes
        self.icc_profile = reference.icc_profile
        self.origin_px = reference.origin_px
        stored = [_stored_at(level, found) for level in reference.levels]
        self.levels = tuple(
            replace(level, whole_tiles=True, slow_tiles=frames.slow)
            for level, frames in zip(
                placed_levels(reference.levels, volumes, path.name), stored, strict=True
            )
        )
        self._tiles = TileFiles(path, [[level] for level in stored])

    def read(self, level: int, region: Region) -> np.ndarray:
        """See `Backend.read`."""
        return self._tiles.read(level, region)

    def close(self) -> None:
        """See `Backend.close`."""
        self._tiles.close()


def _told(
    path: Path, volumes: Sequence[DicomHeader], found: Sequence[DicomLevel]
) -> OpenSlideBackend | DicomFacts:
    """What the slide says about itself."""
    if not all(level.openslide_knows for level in found):
        return read_facts(volumes)
    opened = OpenSlideBackend(path)
    opened.close()
    return opened


def _levels_of(volumes: Sequence[DicomHeader]) -> list[DicomLevel]:
    """What may be a slide's levels."""
    sizes = [volume.size for volume in volumes]
    for size in sizes:
        if (count := sizes.count(size)) > 1:
            raise UndecodableError(
                f"its level of {size.height:,} x {size.width:,} px lies in {count} files."
            )
    return [DicomLevel(volume) for volume in volumes]


def _stored_at(level: Level, found: list[DicomLevel]) -> DicomLevel:
    """The one that has a level's frames."""
    for one in found:
        if (one.grid.size, one.grid.tile) == (level.size, level.tile):
            return one
    raise UndecodableError(
        f"no file was found for its level of {level.size.height:,} x {level.size.width:,} px."
    )
