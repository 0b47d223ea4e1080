"""What lies around the view is loaded while nothing is drawn."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide, pyramid
from napari_hmkd.slide.loading import read_ahead
from napari_hmkd.slide.loading.blocks import BlockGrid
from napari_hmkd.slide.loading.cache import TileCache
from napari_hmkd.slide.loading.read_ahead import PAUSE_S, ReadAhead

GRID = BlockGrid(Size(1000, 1300), Size(256, 256))  # 4 x 6 blocks


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize(
    ("view", "under", "around"),
    [
        (Region(300, 300, 10, 10), 1, 0),
        (Region(300, 300, 100, 100), 1, 3),
        (Region(256, 256, 256, 256), 1, 8),
        (Region(256, 256, 512, 512), 4, 12),
        (Region(256, 512, 128, 512), 2, 6),
        (Region(744, 1044, 256, 256), 4, 2),
        (Region(0, 0, 1000, 1300), 24, 0),
    ],
)
def test_the_blocks_within_half_a_view(view: Region, under: int, around: int) -> None:
    inner, outer = set(GRID.under(view)), GRID.around(view)
    assert (len(inner), len(outer)) == (under, around)
    assert inner.isdisjoint(outer)
    assert all(0 <= row < 4 and 0 <= column < 6 for row, column in [*inner, *outer])


def test_the_nearest_come_first() -> None:
    grid = BlockGrid(Size(4096, 4096), Size(64, 64))
    view = Region(2000, 2000, 512, 512)
    away = [
        max(abs(y - view.center[0]), abs(x - view.center[1]))
        for y, x in (grid.place(*block).center for block in grid.around(view))
    ]
    assert away == sorted(away)
    assert away[0] < away[-1]


class Loader:
    """Notes which blocks are loaded, and when; the first one can be held up."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, int, int]] = []
        self.times: list[float] = []
        self.go = threading.Event()

    def load(self, level: int, row: int, column: int) -> None:
        self.times.append(time.monotonic())
        self.blocks.append((level, row, column))
        self.go.wait(5)


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def ahead(loader: Loader) -> Iterator[ReadAhead]:
    ahead = ReadAhead([GRID, GRID], weakref.WeakMethod(loader.load))
    yield ahead
    ahead.close()
    loader.go.set()


@pytest.mark.parametrize(
    ("view_s", "view"), [(60.0, Region(256, 512, 128, 512)), (0.0, Region(300, 700, 84, 324))]
)
def test_what_was_drawn_together_is_one_view(
    loader: Loader, ahead: ReadAhead, monkeypatch, view_s: float, view: Region
) -> None:
    monkeypatch.setattr(read_ahead, "_VIEW_S", view_s)
    loader.go.set()
    began = time.monotonic()
    for level, part in ((0, (0, 0, 10, 10)), (1, (256, 512, 128, 200)), (1, (300, 700, 84, 324))):
        ahead.look(level, Region(*part))
    around = [(1, *block) for block in GRID.around(view)]
    assert until(lambda: loader.blocks[-len(around) :] == around)
    assert loader.times[0] - began >= PAUSE_S


def test_another_view_drops_what_is_left_of_the_one_before(
    loader: Loader, ahead: ReadAhead
) -> None:
    ahead.look(0, Region(256, 256, 512, 512))
    assert until(lambda: len(loader.blocks) == 1)
    ahead.look(1, Region(744, 1044, 256, 256))
    loader.go.set()
    after = [(1, *block) for block in GRID.around(Region(744, 1044, 256, 256))]
    assert until(lambda: len(loader.blocks) > len(after))
    assert loader.blocks[1:] == after


def test_panning_finds_blocks_ready(tmp_path, noise, write_pyramid) -> None:
    write_pyramid(tmp_path / "a.tif", noise(1024, 1024), tile=(128, 128))
    cache = TileCache()
    with open_slide(tmp_path / "a.tif", cache=cache) as slide:
        base = pyramid(slide)[0]
        base[384:640, 384:640].compute()
        assert until(lambda: cache.statistics.blocks == 4 + 12)
        loaded = cache.statistics.misses
        base[256:512, 256:512].compute()
        assert cache.statistics.misses == loaded


def test_nothing_is_read_ahead_for_grading(tmp_path, noise, write_pyramid) -> None:
    write_pyramid(tmp_path / "a.tif", noise(1024, 1024), tile=(128, 128))
    cache = TileCache()
    with open_slide(tmp_path / "a.tif", cache=cache) as slide:
        for _ in range(2):
            slide.read((320, 320), Size(128, 128), 1.0)
        time.sleep(0.2)
        assert cache.statistics.blocks == 8  # of 3 x 3 those that the region's border cuts


def test_a_damaged_block_nearby_disturbs_nothing(tmp_path, noise, write_pyramid, damage) -> None:
    pixels = noise(512, 512)
    write_pyramid(tmp_path / "a.tif", pixels, tile=(128, 128))
    damage(tmp_path / "a.tif", 0)
    cache = TileCache()
    with open_slide(tmp_path / "a.tif", cache=cache) as slide:
        found = pyramid(slide)[0][128:256, 128:256].compute()
        assert np.array_equal(found, pixels[128:256, 128:256])
        assert until(lambda: cache.statistics.blocks == 8)


def test_a_slide_that_is_let_go_of_ends_its_threads(tmp_path, noise, write_pyramid) -> None:
    write_pyramid(tmp_path / "a.tif", noise(512, 512), tile=(128, 128))
    before = set(threading.enumerate())
    cache = TileCache()
    slide = open_slide(tmp_path / "a.tif", cache=cache)
    pyramid(slide)[0][:100, :100].compute()
    pyramid(slide)[0][100:200, :100].compute()
    new = [thread.name for thread in set(threading.enumerate()) - before]
    assert new.count("read-ahead") == 1
    del slide
    mine = lambda: {  # noqa: E731
        t for t in set(threading.enumerate()) - before if t.name in ("read-ahead", "slide-reader")
    }
    assert until(lambda: not mine())
    assert cache.statistics.blocks == 0
