"""Decoding: whatever is no 8-bit picture is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_hmkd.errors import DataError
from napari_hmkd.training.sources.images import decode, image_size, pixel_digest


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_pictures_of_8_bits_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "ü 1.png"
    Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(path)
    assert image_size(path) == (4, 6)
    pixels = decode(path)
    assert (pixels.shape, pixels.dtype) == ((4, 6, 3), np.uint8)
    assert np.all(pixels == 255)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_deeper_pixels_are_refused(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "deep.tif"
    Image.fromarray(np.full((4, 4), 1000, dtype)).save(path)
    with pytest.raises(DataError, match=r"deep\.tif cannot be used: .*8-bit RGB is needed"):
        decode(path)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0\xff\xff"]
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    for read in (image_size, decode):
        with pytest.raises(DataError, match=r"x\.png cannot be"):
            read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(tmp_path / "gone.png")


def test_digests_are_of_pixels_and_shape() -> None:
    row, column = np.zeros((1, 4, 3), np.uint8), np.zeros((4, 1, 3), np.uint8)
    other = row.copy()
    other[0, 3, 2] = 1
    digests = [pixel_digest(pixels) for pixels in (row, row.copy(), column, other)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
