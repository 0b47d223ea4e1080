"""Small slides that the tests write themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

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
