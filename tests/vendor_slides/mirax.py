"""Writes MRXS slides, after OpenSlide's description of the format and of what scanners write in it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.transform import downscale_local_mean

VERSION, SLIDE_ID = b"01.02", "0123456789ABCDEF0123456789ABCDEF"
POSITIONS, PACKED_POSITIONS = "VIMSLIDE_POSITION_BUFFER", "StitchingIntensityLayer"
_PAGE_ITEMS = 8
_BESIDE = {"SlideThumbnail": "THUMBNAIL", "SlideBarcode": "BARCODE", "SlidePreview": "PREVIEW"}

Place = tuple[int, int, int]
"""Offset, length and number of a data file."""


@dataclass(frozen=True)
class Mirax:
    """How a slide is written: photos that overlap, each stored as `divisions` x `divisions` images.

    Attributes
    ----------
    overlap, jitter : int
        Of neighbouring photos, and how far one may lie from its place in the grid, in pixels of level 0.
    positions : str or None
        The record with each photo's place, or None: it follows from the overlap, without jitter.
    unscanned : collection of tuple of int
        Photos (row, column) that were not taken.
    general : mapping
        More of Slidedat.ini's first section.
    """

    image_px: int = 64
    divisions: int = 2
    overlap: int = 12
    jitter: int = 3
    positions: str | None = POSITIONS
    unscanned: Collection[tuple[int, int]] = ()
    levels: int = 4
    mpp: float = 0.5
    general: Mapping[str, object] = field(default_factory=dict)

    @property
    def photo_px(self) -> int:
        """A photo's side."""
        return self.image_px * self.divisions


def write_mirax(path: Path, pixels: np.ndarray, how: Mirax | None = None) -> list[dict[int, Place]]:
    """Write a slide that shows `pixels`, white beyond them: `path`, and the folder of its name.

    Returns
    -------
    Of each level where each image lies, by its index in Index.dat; a level has a data file of its own.
    """
    how = how or Mirax()
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_jpeg(np.full((32, 32, 3), 255, np.uint8)))
    data = [VERSION + SLIDE_ID.encode() + b"%03d" % k + bytes(256) for k in range(how.levels + 1)]

    def store(number: int, content: bytes) -> Place:
        data[number] += content
        return len(data[number]) - len(content), len(content), number

    corners = _corners(pixels, how)
    taken = np.ones(corners.shape[:2], bool)
    for place in how.unscanned:
        taken[place] = False
    corners[~taken] = 0
    images = [
        {index: store(level + 1, image) for index, image in _images(pixels, corners, taken, level, how)}
        for level in range(how.levels)
    ]  # fmt: skip
    label = _jpeg(np.full((40, 60, 3), (255, 0, 0), np.uint8))
    beside = [store(0, label) for _ in _BESIDE]
    if how.positions is not None:
        flags, places = taken.ravel().tolist(), corners.reshape(-1, 2).tolist()
        buffer = b"".join(
            struct.pack("<?ii", k, x, y) for k, (y, x) in zip(flags, places, strict=True)
        )
        packed = zlib.compress(buffer) if how.positions == PACKED_POSITIONS else buffer
        beside.append(store(0, packed))
    for number, content in enumerate(data):
        (folder / f"Data{number:04}.dat").write_bytes(content)
    (folder / "Index.dat").write_bytes(_index(images, beside))
    (folder / "Slidedat.ini").write_text(_slidedat(taken.shape, how), "utf-8-sig", newline="\r\n")
    return images


def _corners(pixels: np.ndarray, how: Mirax) -> np.ndarray:
    """Top left corner (y, x) of each photo, int (rows, columns, 2), none of them outside."""
    step = how.photo_px - how.overlap
    shape = [-(-(side - how.overlap) // step) for side in pixels.shape[:2]]
    shift = np.random.default_rng(1).integers(-how.jitter, how.jitter + 1, (*shape, 2))
    grid = np.stack(np.mgrid[: shape[0], : shape[1]], axis=-1) * step
    return (grid + (0 if how.positions is None else shift)).clip(0)


def _images(
    pixels: np.ndarray, corners: np.ndarray, taken: np.ndarray, level: int, how: Mirax
) -> Iterator[tuple[int, bytes]]:
    """Index and content of a level's images: the photos side by side, whatever overlaps, reduced and cut."""
    photo, side, step = how.photo_px, how.image_px << level, 1 << level
    shape = [-(-count * photo // side) * side for count in taken.shape]
    joined, there = np.full((*shape, 3), 255, np.uint8), np.zeros(shape, bool)
    for row, column in np.argwhere(taken):
        y, x = corners[row, column]
        part = pixels[y : y + photo, x : x + photo]
        top, left = row * photo, column * photo
        joined[top : top + part.shape[0], left : left + part.shape[1]] = part
        there[top : top + photo, left : left + photo] = True
    for y, x in np.ndindex(shape[0] // side, shape[1] // side):
        here = np.s_[y * side : (y + 1) * side, x * side : (x + 1) * side]
        if there[here].any():
            image = downscale_local_mean(joined[here], (step, step, 1)).round().astype(np.uint8)
            yield (y * taken.shape[1] * how.divisions + x) * step, _jpeg(image)


def _jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def _index(images: list[dict[int, Place]], beside: list[Place]) -> bytes:
    """Index.dat: two roots, a table of records for each, and the records' pages, the first of them empty."""
    records = [[(index, *place) for index, place in level.items()] for level in images]
    records += [[(0, 0, *place)] for place in beside]
    start = len(VERSION) + len(SLIDE_ID)
    at = start + 8 + 4 * len(records)
    table, pages = b"", b""
    for items in records:
        table += struct.pack("<i", at + len(pages))
        pages += struct.pack("<2i", 0, at + len(pages) + 8)
        for first in range(0, len(items), _PAGE_ITEMS):
            content = b"".join(
                struct.pack(f"<{len(item)}i", *item) for item in items[first : first + _PAGE_ITEMS]
            )
            is_last = first + _PAGE_ITEMS >= len(items)
            following = 0 if is_last else at + len(pages) + 8 + len(content)
            pages += (
                struct.pack("<2i", len(items[first : first + _PAGE_ITEMS]), following) + content
            )
    roots = struct.pack("<2i", start + 8, start + 8 + 4 * len(images))
    return VERSION + SLIDE_ID.encode() + roots + table + pages


def _slidedat(photos: tuple[int, ...], how: Mirax) -> str:
    hierarchical: dict[str, object] = {
        "HIER_COUNT": 1, "INDEXFILE": "Index.dat", "NONHIER_COUNT": 1 + (how.positions is not None),
        "HIER_0_NAME": "Slide zoom level", "HIER_0_COUNT": how.levels,
        "NONHIER_0_NAME": "Scan data layer", "NONHIER_0_COUNT": len(_BESIDE),
        "NONHIER_1_NAME": how.positions, "NONHIER_1_COUNT": 1, "NONHIER_1_VAL_0": "default",
    }  # fmt: skip
    sections: dict[str, Mapping[str, object]] = {
        "GENERAL": {
            "SLIDE_VERSION": "01.02", "SLIDE_ID": SLIDE_ID, "OBJECTIVE_MAGNIFICATION": 20,
            "IMAGENUMBER_X": photos[1] * how.divisions, "IMAGENUMBER_Y": photos[0] * how.divisions,
            "CameraImageDivisionsPerSide": how.divisions, **how.general,
        },
        "HIERARCHICAL": hierarchical,
        "DATAFILE": {"FILE_COUNT": how.levels + 1}
        | {f"FILE_{k}": f"Data{k:04}.dat" for k in range(how.levels + 1)},
    }  # fmt: skip
    for k, (layer, kind) in enumerate(_BESIDE.items()):
        hierarchical[f"NONHIER_0_VAL_{k}"] = f"ScanDataLayer_{layer}"
        hierarchical[f"NONHIER_0_VAL_{k}_SECTION"] = f"NONHIERLAYER_0_LEVEL_{k}_SECTION"
        sections[f"NONHIERLAYER_0_LEVEL_{k}_SECTION"] = {f"{kind}_IMAGE_TYPE": "JPEG"}
    for k in range(how.levels):
        hierarchical[f"HIER_0_VAL_{k}"] = f"ZoomLevel_{k}"
        hierarchical[f"HIER_0_VAL_{k}_SECTION"] = f"LAYER_0_LEVEL_{k}_SECTION"
        sections[f"LAYER_0_LEVEL_{k}_SECTION"] = {
            "OVERLAP_X": how.overlap / 2**k, "OVERLAP_Y": how.overlap / 2**k,
            "MICROMETER_PER_PIXEL_X": how.mpp * 2**k, "MICROMETER_PER_PIXEL_Y": how.mpp * 2**k,
            "IMAGE_FORMAT": "JPEG", "IMAGE_FILL_COLOR_BGR": 0xFFFFFF,
            "DIGITIZER_WIDTH": how.image_px, "DIGITIZER_HEIGHT": how.image_px,
            "IMAGE_CONCAT_FACTOR": int(k > 0),
        }  # fmt: skip
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in section.items())
        for name, section in sections.items()
    )
