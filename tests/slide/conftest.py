"""Small slides that the tests write themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders import RLELosslessEncoder

UM_PER_CM = 10_000


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Random uint8 (height, width, channels): every misplaced or mixed pixel shows."""

    def draw(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)

    return draw


@pytest.fixture
def write_pyramid() -> Callable[..., None]:
    """Write a lossless tiled TIFF whose further levels are `pixels[::2]`, `[::4]`, ... cut."""

    def write(
        path: Path, pixels: np.ndarray, levels: int = 1, mpp: float = 0.5, **more: Any
    ) -> None:
        settings: dict[str, Any] = {
            "photometric": "rgb",
            "tile": (64, 64),
            "compression": "zlib",
            "resolution": (UM_PER_CM / mpp, UM_PER_CM / mpp),
            "resolutionunit": "CENTIMETER",
            **more,
        }
        with tifffile.TiffWriter(path) as tiff:
            for level in range(levels):
                step = 2**level
                cut = pixels[: pixels.shape[0] // step * step, : pixels.shape[1] // step * step]
                tiff.write(cut[::step, ::step], subfiletype=int(level > 0), **settings)

    return write


@pytest.fixture
def damage() -> Callable[..., None]:
    """Overwrite stored tiles of a TIFF's first page, so that they cannot be decoded."""

    def spoil(path: Path, *tiles: int) -> None:
        with tifffile.TiffFile(path) as tiff:
            offsets = [tiff.pages[0].dataoffsets[tile] for tile in tiles]
        with path.open("r+b") as file:
            for offset in offsets:
                file.seek(offset)
                file.write(b"damaged!")

    return spoil


@pytest.fixture
def write_channel_files() -> Callable[..., None]:
    """Write an OME-TIFF whose three channels lie in a file each, m0.ome.tif to m2.ome.tif."""

    def write(folder: Path, pixels: np.ndarray, compression: str | None = None) -> None:
        uuids = [f"urn:uuid:0000000{channel}-0000-0000-0000-000000000000" for channel in range(3)]
        channels = "".join(f'<Channel ID="Channel:0:{c}" SamplesPerPixel="1"/>' for c in range(3))
        data = "".join(
            f'<TiffData FirstC="{channel}" IFD="0" PlaneCount="1">'
            f'<UUID FileName="m{channel}.ome.tif">{uuid}</UUID></TiffData>'
            for channel, uuid in enumerate(uuids)
        )
        height, width, _ = pixels.shape
        for channel, uuid in enumerate(uuids):
            header = (
                f'<?xml version="1.0"?><OME UUID="{uuid}" '
                'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
                '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeC="3" SizeZ="1" '
                f'SizeT="1" SizeX="{width}" SizeY="{height}">{channels}{data}</Pixels></Image></OME>'
            )
            tifffile.imwrite(
                folder / f"m{channel}.ome.tif", pixels[..., channel], description=header,
                metadata=None, photometric="minisblack", compression=compression,
            )  # fmt: skip

    return write


SYNTAXES = {
    "plain": pydicom.uid.ExplicitVRLittleEndian,
    "plain, implicit": pydicom.uid.ImplicitVRLittleEndian,
    "jpeg": pydicom.uid.JPEGBaseline8Bit,
    "jpeg, lossless": pydicom.uid.JPEGLossless,
    "jpeg, lossless, first order": pydicom.uid.JPEGLosslessSV1,
    "jpeg 2000": pydicom.uid.JPEG2000,
    "jpeg 2000, lossless": pydicom.uid.JPEG2000Lossless,
    "htj2k": pydicom.uid.HTJ2KLossless,
    "jpeg-ls": pydicom.uid.JPEGLSLossless,
    "jpeg xl": pydicom.uid.HTJ2KLossless,  # as long as its own, which pydicom does not know
    "rle": pydicom.uid.RLELossless,
}


@pytest.fixture(scope="session")
def write_dicom() -> Callable[..., list[Path]]:
    """Write a whole-slide DICOM, a file for each level, and for the label if one is given."""

    def write(
        folder: Path,
        levels: Sequence[np.ndarray],
        tile: int = 64,
        label: np.ndarray | None = None,
        left_out: Sequence[int] = (),
        **more: Any,
    ) -> list[Path]:
        files = []
        for number, pixels in enumerate(levels):
            dataset = _instance(number, levels[0], pixels, "VOLUME")
            _set_frames(dataset, pixels, tile, left_out=() if number else left_out, **more)
            files.append(folder / f"{number}.dcm")
            dataset.save_as(files[-1], enforce_file_format=True)
            if more.get("coding") == "jpeg xl":
                stored = files[-1].read_bytes()
                files[-1].write_bytes(stored.replace(b".1.2.4.201", b".1.2.4.110"))
        if label is not None:
            dataset = _instance(len(levels), levels[0], label, "LABEL")
            _set_frames(dataset, label, max(label.shape), organization="TILED_FULL")
            files.append(folder / "label.dcm")
            dataset.save_as(files[-1], enforce_file_format=True)
        return files

    return write


def _instance(number: int, base: np.ndarray, pixels: np.ndarray, kind: str) -> pydicom.Dataset:
    """One file of a slide of 0.5 um/px, scanned at 20x."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.SOPClassUID = pydicom.uid.VLWholeSlideMicroscopyImageStorage
    data.SOPInstanceUID = f"1.2.3.{number + 1}"
    data.SeriesInstanceUID, data.StudyInstanceUID = "1.2.3", "1.2"
    resampled = "RESAMPLED" if len(pixels) < len(base) and kind == "VOLUME" else "NONE"
    data.ImageType = ["DERIVED", "PRIMARY", kind, resampled]
    data.Modality, data.AcquisitionDateTime = "SM", "20240131120000"
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = pixels.shape[:2]
    data.TotalPixelMatrixFocalPlanes = data.NumberOfOpticalPaths = 1
    data.SamplesPerPixel, data.PlanarConfiguration, data.PixelRepresentation = 3, 0, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    measures, groups, light = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing = [0.0005 * len(base) / len(pixels)] * 2
    groups.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [groups]
    light.ObjectiveLensPower = "20"
    data.OpticalPathSequence = [light]
    return data


def _set_frames(
    data: pydicom.Dataset,
    pixels: np.ndarray,
    tile: int,
    coding: str = "jpeg",
    photometric: str = "YBR_FULL_422",
    table: str = "basic",
    fragments: int = 1,
    organization: str = "TILED_FULL",
    undefined_length: bool = False,
    left_out: Sequence[int] = (),
    marks: bytes = b"",
    tile_width: int | None = None,
) -> None:
    """Put an image into a data set as frames; what overhangs its edge is of a colour of its own."""
    wide = tile_width or tile
    rows, columns = -(-pixels.shape[0] // tile), -(-pixels.shape[1] // wide)
    whole = np.full((rows * tile, columns * wide, 3), (255, 0, 255), np.uint8)
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    corners = [(y * tile, x * wide) for y in range(rows) for x in range(columns)]
    if organization == "TILED_SPARSE":
        corners = [corner for index, corner in enumerate(corners) if index not in left_out][::-1]
        data.PerFrameFunctionalGroupsSequence = [_placed(*corner) for corner in corners]
        data["PerFrameFunctionalGroupsSequence"].is_undefined_length = undefined_length
    frames = [
        _coded(whole[y : y + tile, x : x + wide], coding, photometric, marks) for y, x in corners
    ]
    data.file_meta.TransferSyntaxUID = SYNTAXES[coding]
    data.DimensionOrganizationType, data.PhotometricInterpretation = organization, photometric
    data.Rows, data.Columns = tile, wide
    data.NumberOfFrames = len(frames)
    if coding.startswith("plain"):
        joined = b"".join(frames)
        data.PixelData = joined + bytes(len(joined) % 2)
    elif table == "extended":
        stored = encapsulate_extended(frames)
        data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = stored
    else:
        data.PixelData = encapsulate(frames, fragments, has_bot=table == "basic")
    data["PixelData"].VR = "OB"


def _placed(y: int, x: int) -> pydicom.Dataset:
    place, frame = pydicom.Dataset(), pydicom.Dataset()
    place.RowPositionInTotalImagePixelMatrix = y + 1
    place.ColumnPositionInTotalImagePixelMatrix = x + 1
    frame.PlanePositionSlideSequence = [place]
    return frame


def _coded(tile: np.ndarray, coding: str, photometric: str, marks: bytes) -> bytes:
    """A frame, with further marks at the start of a JPEG."""
    tile = np.ascontiguousarray(tile)
    if coding.startswith("plain"):
        return tile.tobytes()
    if coding == "jpeg":
        stored = {"RGB": "rgb", "YBR_FULL_422": "ycbcr"}[photometric]
        halved = "422" if stored == "ycbcr" else "444"
        data = imagecodecs.jpeg8_encode(
            tile, level=90, colorspace="rgb", outcolorspace=stored, subsampling=halved
        )
        return data[:2] + marks + data[2:]
    if coding == "rle":
        return RLELosslessEncoder.encode(
            tile, rows=len(tile), columns=tile.shape[1], number_of_frames=1,
            samples_per_pixel=3, bits_allocated=8, bits_stored=8, pixel_representation=0,
            photometric_interpretation="RGB", planar_configuration=0,
        )  # fmt: skip
    if coding == "htj2k":
        return imagecodecs.htj2k_encode(tile, reversible=True)
    if coding.startswith("jpeg, lossless"):
        predictor = 1 if coding.endswith("first order") else 4
        return imagecodecs.jpeg8_encode(tile, lossless=True, predictor=predictor)
    if coding == "jpeg-ls":
        return imagecodecs.jpegls_encode(tile)
    if coding == "jpeg xl":
        return imagecodecs.jpegxl_encode(tile, lossless=True)
    exact = coding == "jpeg 2000, lossless"
    return imagecodecs.jpeg2k_encode(
        tile, level=0 if exact else 40, reversible=exact, codecformat="j2k", mct=True
    )
