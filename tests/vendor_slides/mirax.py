"""Writes MRXS slides, after OpenSlide's description of the format and of what scanners write in it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.transform import downscale_local_mean

VERSION = b"01.02"
SLIDE_ID = "0123456789ABCDEF0123456789ABCDEF"
POSITIONS, PACKED_POSITIONS = "VIMSLIDE_POSITION_BUFFER", "StitchingIntensityLayer"

Place = tuple[int, int, int]
"""Offset, length and number of a data file."""


@dataclass(frozen=True)
class Mirax:
    """How a slide is written: photos that overlap, each stored as `divisions` x `divisions` images.

    Attributes
    ----------
    overlap : int
        Of neighbouring photos, in pixels of level 0.
    jitter : int
        How far a photo may lie from its place in the grid, in pixels; no photo lies above or left of 0.
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
    magnification: int = 20
    quality: int = 95
    general: Mapping[str, object] = field(default_factory=dict)

    @property
    def photo_px(self) -> int:
        """A photo's side."""
        return self.image_px * self.divisions


def write_mirax(path: Path, pixels: np.ndarray, how: Mirax | None = None) -> dict[int, dict]:
    """Write a slide that shows `pixels`, white beyond them: `path`, and the folder of its name.

    Returns
    -------
    Of each level the `Place` of each image by its index in Index.dat.
    """
    how = how or Mirax()
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_jpeg(np.full((32, 32, 3), 255, np.uint8), 80))
    data = [VERSION + SLIDE_ID.encode() + b"%03d" % k + bytes(256) for k in range(how.levels + 1)]

    def store(number: int, content: bytes) -> Place:
        data[number] += content
        return len(data[number]) - len(content), len(content), number

    places = _photo_places(pixels, how)
    rows, columns = (max(axis) + 1 for axis in zip(*places, strict=True))
    images = [
        {index: store(level + 1, image) for index, image in _images(pixels, places, level, how)}
        for level in range(how.levels)
    ]
    written = [one not in how.unscanned for one in places]
    corners = [
        corner if kept else (0, 0) for corner, kept in zip(places.values(), written, strict=True)
    ]
    buffer = b"".join(
        struct.pack("<?ii", k, x, y) for k, (y, x) in zip(written, corners, strict=True)
    )
    red = _jpeg(np.full((40, 60, 3), (255, 0, 0), np.uint8), 90)
    beside = [store(0, red) for _ in range(3)]
    if how.positions is not None:
        packed = zlib.compress(buffer) if how.positions == PACKED_POSITIONS else buffer
        beside.append(store(0, packed))
    for number, content in enumerate(data):
        (folder / f"Data{number:04}.dat").write_bytes(content)
    (folder / "Index.dat").write_bytes(_index(images, beside))
    size = (rows * how.divisions, columns * how.divisions)
    (folder / "Slidedat.ini").write_text(_slidedat(size, how), "utf-8-sig", newline="\r\n")
    return dict(enumerate(images))


def _photo_places(pixels: np.ndarray, how: Mirax) -> dict[tuple[int, int], tuple[int, int]]:
    """Top left corner (y, x) of each photo (row, column), by rows."""
    step = how.photo_px - how.overlap
    rows, columns = (-(-(side - how.overlap) // step) for side in pixels.shape[:2])
    shift = np.random.default_rng(1).integers(-how.jitter, how.jitter + 1, (rows, columns, 2))
    if how.positions is None:
        shift[:] = 0
    corner = np.stack(np.mgrid[:rows, :columns], axis=-1) * step + shift
    return {place: tuple(map(int, corner[place].clip(0))) for place in np.ndindex(rows, columns)}


def _images(
    pixels: np.ndarray, places: dict, level: int, how: Mirax
) -> Iterable[tuple[int, bytes]]:
    """Index and content of a level's images: those of level 0 side by side, whatever overlaps, reduced."""
    rows, columns = (max(axis) + 1 for axis in zip(*places, strict=True))
    photo, side, step = how.photo_px, how.image_px << level, 1 << level
    shape = [-(-count * photo // side) * side for count in (rows, columns)]
    joined, taken = np.full((*shape, 3), 255, np.uint8), np.zeros(shape, bool)
    for (row, column), (y, x) in places.items():
        if (row, column) not in how.unscanned:
            part = pixels[y : y + photo, x : x + photo]
            top, left = row * photo, column * photo
            joined[top : top + part.shape[0], left : left + part.shape[1]] = part
            taken[top : top + photo, left : left + photo] = True
    for y, x in np.ndindex(shape[0] // side, shape[1] // side):
        here = np.s_[y * side : (y + 1) * side, x * side : (x + 1) * side]
        if taken[here].any():
            image = downscale_local_mean(joined[here], (step, step, 1)).round().astype(np.uint8)
            yield (y * columns * how.divisions + x) * step, _jpeg(image, how.quality)


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def _index(images: list[dict[int, Place]], beside: list[Place]) -> bytes:
    """Index.dat: roots, a table of records for each, and lists of pages, of which the first is empty."""
    records = [[(index, *place) for index, place in level.items()] for level in images]
    records += [[(0, 0, *place)] for place in beside]
    start = len(VERSION) + len(SLIDE_ID)
    tables = [start + 8, start + 8 + 4 * len(images)]
    at = start + 8 + 4 * len(records)
    heads, pages = b"", b""
    for record in records:
        head = at + len(pages)
        heads += struct.pack("<i", head)
        pages += struct.pack("<4i", 0, head + 8, len(record), 0)
        pages += b"".join(struct.pack(f"<{len(item)}i", *item) for item in record)
    return VERSION + SLIDE_ID.encode() + struct.pack("<2i", *tables) + heads + pages


def _slidedat(size: tuple[int, int], how: Mirax) -> str:
    layers = ["SlideThumbnail", "SlideBarcode", "SlidePreview"]
    hierarchical: dict[str, object] = {
        "HIER_COUNT": 1, "INDEXFILE": "Index.dat", "NONHIER_COUNT": 1 + (how.positions is not None),
        "HIER_0_NAME": "Slide zoom level", "HIER_0_COUNT": how.levels,
        "NONHIER_0_NAME": "Scan data layer", "NONHIER_0_COUNT": len(layers),
        "NONHIER_1_NAME": how.positions, "NONHIER_1_COUNT": 1, "NONHIER_1_VAL_0": "default",
    }  # fmt: skip
    sections: dict[str, Mapping[str, object]] = {
        "GENERAL": {
            "SLIDE_VERSION": "01.02", "SLIDE_ID": SLIDE_ID,
            "IMAGENUMBER_X": size[1], "IMAGENUMBER_Y": size[0],
            "OBJECTIVE_MAGNIFICATION": how.magnification,
            "CameraImageDivisionsPerSide": how.divisions, **how.general,
        },
        "HIERARCHICAL": hierarchical,
        "DATAFILE": {"FILE_COUNT": how.levels + 1}
        | {f"FILE_{k}": f"Data{k:04}.dat" for k in range(how.levels + 1)},
    }  # fmt: skip
    for k, (layer, kind) in enumerate(
        zip(layers, ["THUMBNAIL", "BARCODE", "PREVIEW"], strict=True)
    ):
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
            "IMAGE_CONCAT_FACTOR": int(k > 0), "IMAGE_COMPRESSION_FACTOR": how.quality,
        }  # fmt: skip
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in section.items())
        for name, section in sections.items()
    )
