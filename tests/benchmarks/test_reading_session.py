"""Somebody reads a slide: zooms in by five steps, pans over it, zooms out; with pauses to look.

Read are the arrays that napari draws from, one window after the other; a view's time ends when all of
it is there at full resolution. Compared are the same reading once more (the cache), without reading
ahead, and with tifffile's zarr store in dask, which is what napari's usual TIFF readers hand to it.

The suite runs a small form; on a machine that does nothing else

    HMKD_BENCHMARK=full pytest -s tests/benchmarks/test_reading_session.py

pans over 50 views, 7 times, and holds us to it: what was read before comes sooner, reading ahead does
not cost drawing anything, and ours is level with the rival.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile

pytest.importorskip("psutil", reason="needs psutil, which comes with napari")

from tests.benchmarks.drawn_slides import TILE_PX, write_sparse
from tests.benchmarks.timing import (
    FULL,
    MB,
    TOLERANCE,
    PeakMemory,
    interleaved,
    print_table,
    time_ratio,
)

from napari_hmkd.slide import open_slide, pyramid
from napari_hmkd.slide.loading.cache import TileCache
from napari_hmkd.slide.loading.read_ahead import ReadAhead

SIDE_PX = 32_768 if FULL else 8192
PANS = 50 if FULL else 6
ROUNDS = 7 if FULL else 1
PAUSE_S = 0.25 if FULL else 0.1
WINDOW = (900, 1400) if FULL else (512, 768)
ZOOM_STEPS = 5
MOST_MB = 300

Pyramid = Sequence[da.Array]


@dataclass
class Tally:
    """What a way of reading took so far: seconds of every view, tiles, and most memory."""

    views_s: list[float] = field(default_factory=list)
    tiles: int = 0
    mb: float = 0.0

    def row(self, name: str) -> list[str]:
        """For the table."""
        speed, late = self.tiles / sum(self.views_s), np.quantile(self.views_s, 0.95)
        return [name, f"{speed:.0f}", f"{1000 * late:.0f} ms", f"{self.mb:.0f} MB"]


def views(levels: Pyramid, seed: int) -> Iterator[da.Array]:
    """What a window shows during a reading, at the level that napari would take."""
    rng = np.random.default_rng(seed)
    size = np.array(levels[0].shape[:2])
    place = size * rng.uniform(0.3, 0.7, 2)
    overview = (size / WINDOW).max()
    zooms = np.geomspace(overview, 1, ZOOM_STEPS + 1)[1:]
    course = rng.uniform(0, 2 * np.pi)
    for zoom in zooms:
        yield _view(levels, place, zoom)
    for _ in range(PANS):
        course += rng.normal(0, 0.3)  # along a border, say
        step = 0.6 * np.array(WINDOW) * (np.sin(course), np.cos(course))
        if not (np.array(WINDOW) < place + step).all() or not (place + step < size - WINDOW).all():
            course, step = course + np.pi / 2, 0
        place = place + step
        yield _view(levels, place, 1.0)
    for zoom in zooms[-2::-1]:
        yield _view(levels, place, zoom)


def _view(levels: Pyramid, place: np.ndarray, zoom: float) -> da.Array:
    """The window about a place, with `zoom` level-0 px to a pixel of the screen."""
    factors = [levels[0].shape[0] / level.shape[0] for level in levels]
    index = max(i for i, factor in enumerate(factors) if factor <= zoom * 1.01)
    shape = np.array(levels[index].shape[:2])
    half = np.array(WINDOW) * zoom / 2
    top, left = np.maximum((place - half) / factors[index], 0).astype(int)
    bottom, right = np.minimum((place + half) / factors[index], shape).astype(int)
    return levels[index][top:bottom, left:right]


def read(levels: Pyramid, seed: int, tally: Tally, pause_s: float = PAUSE_S) -> float:
    """Read a slide; the seconds of waiting for all views."""
    waited = 0.0
    with PeakMemory() as memory:
        for view in views(levels, seed):
            started = time.perf_counter()
            pixels = view.compute()
            tally.views_s.append(time.perf_counter() - started)
            waited += tally.views_s[-1]
            tally.tiles += -(-pixels.shape[0] // TILE_PX) * -(-pixels.shape[1] // TILE_PX)
            time.sleep(pause_s)
    tally.mb = max(tally.mb, memory.mb)
    return waited


@pytest.mark.timeout(3600)
def test_a_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "Schnitt 1.tif"
    write_sparse(path, SIDE_PX, {1: 1.0, 4: 1.0, 16: 1.0})
    path.read_bytes()  # the system's cache is warm for all
    tallies: dict[str, Tally] = {}

    def first(tally: Tally, seed: int) -> float:
        with open_slide(path, cache=TileCache()) as slide:
            return read(pyramid(slide), seed, tally)

    def again(tally: Tally, seed: int) -> float:
        with open_slide(path, cache=TileCache()) as slide:
            read(pyramid(slide), seed, Tally(), pause_s=0)
            return read(pyramid(slide), seed, tally)

    def not_ahead(tally: Tally, seed: int) -> float:
        with monkeypatch.context() as patch:
            patch.setattr(ReadAhead, "look", lambda *view: None)
            return first(tally, seed)

    def rival(tally: Tally, seed: int) -> float:
        with tifffile.TiffFile(path) as tiff:
            count = len(tiff.series[0].levels)
            stores = [tiff.aszarr(level=level) for level in range(count)]
            return read([da.from_zarr(store) for store in stores], seed, tally)

    ways: dict[str, Callable[[Tally, int], float]] = {
        "ours": first,
        "ours, the second time": again,
        "ours, not reading ahead": not_ahead,
        "tifffile's zarr in dask": rival,
    }
    for name in ways:
        tallies[name] = Tally()
    seconds = interleaved({name: partial(way, tallies[name]) for name, way in ways.items()}, ROUNDS)
    ratios = {name: time_ratio(values, seconds["ours"]) for name, values in seconds.items()}
    print_table(
        f"Reading {SIDE_PX} x {SIDE_PX} px: {ZOOM_STEPS} steps in, {PANS} views, out; {WINDOW} px",
        ["", "tiles/s", "95 % of views within", "memory above", "waiting, over ours"],
        [[*tallies[name].row(name), str(ratios[name])] for name in ways],
    )
    cached = time_ratio(seconds["ours, the second time"], seconds["ours, not reading ahead"])
    print(f"The second time over a first time without reading ahead: {cached}")
    assert cached.middle < (1 if FULL else 3)  # a small reading is over before it is measured well
    assert max(tally.mb for tally in tallies.values()) < TileCache().max_bytes / MB + MOST_MB
    assert ratios["tifffile's zarr in dask"].high >= (1 / TOLERANCE if FULL else 0.3)
    if FULL:
        assert ratios["ours, not reading ahead"].high >= 1
