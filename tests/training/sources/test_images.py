"""Decoding: whatever is no 8-bit picture is refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.ExifTags import Base

from napari_hmkd.errors import DataError
from napari_hmkd.slide.backends.protocol import flatten_on_white
from napari_hmkd.training.sources.images import decode, image_size, pixel_digest


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_pictures_of_8_bits_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "ü 1.png"
    Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(path)
    assert image_size(path) == (4, 6)
    pixels = decode(path)
    assert (pixels.shape, pixels.dtype) == ((4, 6, 3), np.uint8)
    assert np.all(pixels == 255)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """16 bits to a channel, which Pillow reads and does not write."""
    height, width, channels = pixels.shape
    colour = {2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "dtype", "bits"),
    [
        ("deep.tif", np.uint16, 16),
        ("deep.tif", np.int32, 32),
        ("deep.tif", np.float32, 32),
        ("deep.png", np.uint16, 16),
    ],
)
def test_deeper_grey_pixels_are_refused(tmp_path: Path, name: str, dtype: type, bits: int) -> None:
    Image.fromarray(np.full((4, 4), 1000, dtype)).save(tmp_path / name)
    message = rf"{name} cannot be used: its channels have {bits} bits, and 8-bit RGB is needed"
    with pytest.raises(DataError, match=message):
        decode(tmp_path / name)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_png_of_16_bits_in_colour_or_with_alpha_is_refused(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "deep.png"
    write_png(path, np.full((4, 4, channels), 1000, np.uint16))
    with pytest.raises(DataError, match=r"deep\.png cannot be used: its channels have 16 bits"):
        decode(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_in_colour_is_read_with_8_bits_and_refused_with_16(
    tmp_path: Path, compression: str | None, planes: str, dtype: type
) -> None:
    path = tmp_path / "ä.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(dtype)
    stored = pixels if planes == "contig" else np.moveaxis(pixels, 2, 0)
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planes, compression=compression)
    if dtype == np.uint8:
        np.testing.assert_array_equal(decode(path), pixels)
    else:
        with pytest.raises(DataError, match=r"ä\.tif cannot be used: its channels have 16 bits"):
            decode(path)


def test_16_bits_to_a_whole_pixel_are_no_deep_channels(tmp_path: Path) -> None:
    header = struct.pack("<IiiHHIIiiIIIII", 52, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0, 0xF800, 0x7E0, 0x1F)
    path = tmp_path / "x.bmp"
    path.write_bytes(b"BM" + struct.pack("<IHHI", 70, 0, 0, 66) + header + b"\xff\xff\0\0")
    assert decode(path).tolist() == [[[255, 255, 255], [0, 0, 0]]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_lie_on_white_as_on_a_slide(tmp_path: Path, mode: str) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    if mode != "RGBA":
        rgba[..., :3] = rgba[..., :1]
    rgba[0, :, 3] = 0
    path = tmp_path / "x.tif"
    Image.fromarray(rgba).convert(mode).save(path)
    found = decode(path)
    assert np.all(found[0] == 255)
    np.testing.assert_allclose(found.astype(int), flatten_on_white(rgba).astype(int), atol=1)


@pytest.mark.parametrize(("mode", "colour"), [("P", 0), ("L", 7), ("RGB", (7, 7, 7))])
def test_a_colour_that_means_transparent_becomes_white(tmp_path: Path, mode: str, colour) -> None:
    image = Image.new(mode, (4, 4), colour)
    image.save(tmp_path / "x.png", transparency=colour)
    assert np.all(decode(tmp_path / "x.png") == 255)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_a_picture_is_turned_as_viewers_show_it(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = 6  # show it turned clockwise by 90 degrees
    pixels = np.zeros((16, 8, 3), np.uint8)
    pixels[:8] = 255
    Image.fromarray(pixels).save(tmp_path / f"x.{suffix}", exif=exif)
    np.testing.assert_allclose(decode(tmp_path / f"x.{suffix}"), np.rot90(pixels, -1), atol=2)


@pytest.mark.parametrize(("sides", "refused"), [((8, 8, 8), True), ((8, 4), False)])
def test_a_stack_of_pictures_is_refused_and_a_pyramid_is_not(
    tmp_path: Path, sides: tuple[int, ...], refused: bool
) -> None:
    path = tmp_path / "x.tif"
    first, *more = (Image.new("L", (side, side), 9) for side in sides)
    first.save(path, save_all=True, append_images=more)
    if refused:
        with pytest.raises(DataError, match=r"x\.tif cannot be used: it holds 3 pictures"):
            decode(path)
    else:
        assert np.all(decode(path) == 9)


@pytest.mark.parametrize("next_at", [3, 2**31 - 1])
def test_a_tiff_whose_next_picture_is_nowhere_is_refused(tmp_path: Path, next_at: int) -> None:
    path = tmp_path / "x.tif"
    Image.new("RGB", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * tags, next_at)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.tif cannot be decoded \(.*replace or remove it"):
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


@pytest.mark.parametrize("read", [image_size, decode])
def test_a_missing_file_is_refused_with_the_system_s_reason(tmp_path: Path, read) -> None:
    with pytest.raises(DataError, match=r"gone\.png cannot be .*No such file"):
        read(tmp_path / "gone.png")


def test_digests_are_of_pixels_and_shape() -> None:
    row, column = np.zeros((1, 4, 3), np.uint8), np.zeros((4, 1, 3), np.uint8)
    other = row.copy()
    other[0, 3, 2] = 1
    digests = [pixel_digest(pixels) for pixels in (row, row.copy(), column, other)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
