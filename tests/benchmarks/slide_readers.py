"""One reader of slides at work, in whatever Python has it: `python slide_readers.py READER`.

Each line of standard input is a job in JSON, with the keys

    path, size      the slide, and its [height, width]
    workload        "random": up to `regions` squares of 512 px of level 0, each in another of its
                    squares of 1024 px, so that few tiles are read twice and no cache helps;
                    "sequential": all of level 0 in blocks of 1024 px
    threads         how many read at once
    seed            of the places; the same places for every reader

and is answered by a line with the seconds from the first read to the last, the bytes of pixels (3 a
pixel) and the mean grey value of the first region, or with the error. Every job opens the slide anew,
before the clock starts, so that a reader's own caches hold nothing of it and the system's do. Our cache is
full of other slides, as it is after a while; "first use" is with an empty one.

The peers can live in an environment of their own, which the variable HMKD_PEERS names:

    python3.11 -m venv peers
    peers/bin/pip install openslide-python openslide-bin tifffile imagecodecs zarr fastslide tiffslide \
        napari-wsi rasterio
    HMKD_PEERS=peers/bin/python HMKD_BENCHMARK=full pytest -s tests/benchmarks/test_slide_speed.py

The peers are asked for pixels in their cheapest form: RGBA where that is what they have, no copy.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

Place = tuple[int, int, int, int]
"""y, x, height and width of a region of level 0."""

Read = Callable[[int, int, int, int], Any]
_REGION_PX, _BLOCK_PX = 512, 1024
_CACHE_BYTES, _OPEN_SLIDES = 64 * 2**20, 4
_before: list[Any] = []
"""The cache of "ours", and the slides that were read last, which keep their blocks in it."""


def ours(path: str, threads: int) -> Read:
    """What drawing and grading read with, its cache full of slides that were open before."""
    from napari_hmkd.slide import open_slide
    from napari_hmkd.slide.loading.cache import TileCache

    if not _before:
        _before.append(TileCache(_CACHE_BYTES))
    slide = open_slide(path, cache=_before[0])
    _before[1:] = [slide, *_before[1:_OPEN_SLIDES]]
    return _level_0(slide)


def ours_first(path: str, threads: int) -> Read:
    """The same with a new cache."""
    from napari_hmkd.slide import open_slide
    from napari_hmkd.slide.loading.cache import TileCache

    return _level_0(open_slide(path, cache=TileCache()))


def _level_0(slide: Any) -> Read:
    from napari_hmkd.geometry import Region

    return lambda y, x, height, width: slide.read_level(0, Region(y, x, height, width))


def openslide(path: str, threads: int) -> Read:
    """OpenSlide's Python binding."""
    from openslide import OpenSlide

    slide = OpenSlide(path)
    return lambda y, x, height, width: np.asarray(slide.read_region((x, y), 0, (width, height)))


def tifffile(path: str, threads: int) -> Read:
    """tifffile's decoder on each tile under a region, put together by hand: its fastest use."""
    from tifffile import TiffFile

    tiff = TiffFile(path)
    page, file, lock = tiff.series[0].keyframe, tiff.filehandle, threading.Lock()
    if not page.is_tiled or page.compression == 1 or page.planarconfig != 1:
        raise ValueError("no compressed tiles")
    side_y, side_x = page.tilelength, page.tilewidth
    columns = -(-page.imagewidth // side_x)
    offsets, counts = page.dataoffsets, page.databytecounts
    jpeg = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}

    def read(y: int, x: int, height: int, width: int) -> np.ndarray:
        pixels = np.empty((height, width, page.samplesperpixel), page.dtype)
        for row in range(y // side_y, -(-(y + height) // side_y)):
            for column in range(x // side_x, -(-(x + width) // side_x)):
                index = row * columns + column
                with lock:
                    file.seek(offsets[index])
                    data = file.read(counts[index])
                tile = page.decode(data, index, **jpeg)[0][0]
                top, left = row * side_y, column * side_x
                piece = tile[
                    max(y - top, 0) : y + height - top, max(x - left, 0) : x + width - left
                ]
                down, right = max(top - y, 0), max(left - x, 0)
                pixels[down : down + len(piece), right : right + piece.shape[1]] = piece
        return pixels

    return read


def tifffile_zarr(path: str, threads: int) -> Read:
    """tifffile's zarr store, its documented way to regions."""
    import zarr
    from tifffile import imread

    store = imread(path, aszarr=True, level=0, maxworkers=threads)
    return _slicing(zarr.open_array(store, mode="r"))


def zarr_alone(path: str, threads: int) -> Read:
    """The array of an OME-Zarr's level 0, stored as planes of colours, which are put last."""
    import zarr

    if not Path(path).is_dir():
        raise ValueError("no zarr store")
    array = zarr.open_array(Path(path) / "0", mode="r")

    def read(y: int, x: int, height: int, width: int) -> np.ndarray:
        return np.stack(array[:, y : y + height, x : x + width], axis=-1)

    return read


def fastslide(path: str, threads: int) -> Read:
    """fastslide's own binding."""
    from fastslide import FastSlide

    slide = FastSlide.from_file_path(path)
    return lambda y, x, height, width: slide.read_region((x, y), 0, (width, height)).numpy()


def tiffslide(path: str, threads: int) -> Read:
    """tiffslide, asked for arrays."""
    from tiffslide import TiffSlide

    slide = TiffSlide(path)

    def read(y: int, x: int, height: int, width: int) -> np.ndarray:
        return slide.read_region((x, y), 0, (width, height), as_array=True)

    return read


def napari_wsi(path: str, threads: int) -> Read:
    """The zarr array in the store of the back end that napari-wsi itself takes for the suffix.

    It is reached through a private name: the public one wraps it in dask, which would cost more.
    """
    from napari_wsi.backends.common import WSIReaderBackend
    from napari_wsi.common import open_store

    vendor = Path(path).suffix in (".svs", ".ndpi", ".bif", ".scn")
    backend = WSIReaderBackend.OPENSLIDE if vendor else WSIReaderBackend.RASTERIO
    _, finest = open_store(path, backend)._pyramid[0]
    return _slicing(finest)


READERS: dict[str, tuple[str, Callable[[str, int], Read]]] = {
    "ours": ("napari-hmkd", ours),
    "ours, first use": ("napari-hmkd", ours_first),
    "openslide": ("openslide-python", openslide),
    "tifffile": ("tifffile", tifffile),
    "tifffile-zarr": ("tifffile", tifffile_zarr),
    "zarr": ("zarr", zarr_alone),
    "fastslide": ("fastslide", fastslide),
    "tiffslide": ("tiffslide", tiffslide),
    "napari-wsi": ("napari-wsi", napari_wsi),
}
"""The package of each reader, and how it opens a slide."""


def _slicing(array: Any) -> Read:
    return lambda y, x, height, width: array[y : y + height, x : x + width]


def places(job: dict[str, Any]) -> list[Place]:
    """The regions that a job reads."""
    height, width = job["size"]
    blocks = [
        (y, x, min(_BLOCK_PX, height - y), min(_BLOCK_PX, width - x))
        for y in range(0, height, _BLOCK_PX)
        for x in range(0, width, _BLOCK_PX)
    ]
    if job["workload"] == "sequential":
        return blocks
    draw = random.Random(job["seed"])
    roomy = [block for block in blocks if min(block[2:]) >= _REGION_PX]
    return [
        (
            y + draw.randint(0, block_height - _REGION_PX),
            x + draw.randint(0, block_width - _REGION_PX),
            _REGION_PX,
            _REGION_PX,
        )
        for y, x, block_height, block_width in draw.sample(roomy, min(len(roomy), job["regions"]))
    ]


def work(reader: str, job: dict[str, Any]) -> dict[str, Any]:
    """Do a job."""
    package, opener = READERS[reader]
    read = opener(job["path"], job["threads"])
    regions = places(job)

    def visit(place: Place) -> int:
        read(*place)
        return 3 * place[2] * place[3]

    with ThreadPoolExecutor(job["threads"]) as pool:
        started = time.perf_counter()
        total = sum(pool.map(visit, regions))
        seconds = time.perf_counter() - started
    shown = np.asarray(read(*regions[0]))
    mean = float((shown[..., :3] if shown.shape[-1] == 4 else shown).mean())
    version = f"{package} {importlib.metadata.version(package)}"
    return {"seconds": seconds, "bytes": total, "mean": mean, "version": version}


def main(reader: str) -> None:
    """Answer jobs until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints goes elsewhere
    for line in sys.stdin:
        try:
            answer = work(reader, json.loads(line))
        except Exception as error:  # a reader that cannot is left out of that comparison
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main(sys.argv[1])
