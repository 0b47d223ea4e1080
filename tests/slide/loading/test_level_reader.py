"""What of a read is kept: all that is drawn, and of other reads what the next one needs too."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from dask.system import CPU_COUNT

from napari_hmkd.geometry import Region
from napari_hmkd.slide import Slide, open_slide, pyramid
from napari_hmkd.slide.loading.cache import TileCache

SIDE, TILE = 640, 128  # 5 x 5 tiles


@pytest.fixture
def slide(tmp_path: Path, noise, write_pyramid) -> Slide:
    write_pyramid(tmp_path / "a.tif", noise(SIDE, SIDE), tile=(TILE, TILE))
    with open_slide(tmp_path / "a.tif", cache=TileCache()) as slide:
        slide.decoded = []
        plain = slide.reader.backend.read
        slide.reader.backend.read = lambda level, region: (
            slide.decoded.append(region) or plain(level, region)
        )
        yield slide


def read_by_turns(slide: Slide) -> None:
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for pool in (one, other):
            pool.submit(slide.read_level, 0, Region(0, 0, TILE, TILE)).result()


def count_readers(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads that decode tiles from now on, each of which takes its time."""
    plain, readers = slide.reader.backend.read, set()

    def read(level: int, region: Region) -> np.ndarray:
        readers.add(threading.get_ident())
        time.sleep(0.01)
        return plain(level, region)

    monkeypatch.setattr(slide.reader.backend, "read", read)
    return readers


def kept(slide: Slide) -> int:
    return slide.reader.cache.statistics.blocks


@pytest.mark.parametrize(
    ("region", "blocks"),
    [
        (Region(0, 0, SIDE, SIDE), 0),
        (Region(128, 256, 256, 128), 0),  # two whole tiles
        (Region(512, 512, 128, 128), 0),  # the last tile
        (Region(64, 64, 384, 384), 12),  # 16 tiles, of which 4 are whole
        (Region(64, 0, 128, SIDE), 10),  # the upper row is cut, the lower too
        (Region(130, 130, 20, 20), 1),  # within a tile
    ],
)
def test_a_second_read_keeps_the_tiles_that_its_border_cuts(
    slide: Slide, noise, region: Region, blocks: int
) -> None:
    whole = Region(0, 0, SIDE, SIDE)
    for expected in (0, blocks, blocks):
        found = slide.read_level(0, region)
        assert np.array_equal(found, noise(SIDE, SIDE)[whole.slices(region)])
        assert kept(slide) == expected


@pytest.mark.parametrize("by_turns", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_cut_tiles_are_kept_once_a_second_region_needs_one(
    tmp_path: Path, noise, write_pyramid, compression: str | None, by_turns: bool
) -> None:
    stored = {"tile": (TILE, TILE), "compression": compression}
    write_pyramid(tmp_path / "a.tif", noise(SIDE, SIDE), **stored)
    with open_slide(tmp_path / "a.tif", cache=TileCache()) as slide:
        for x, blocks in ((64, 0), (384, 0), (192, 5), (320, 8)):  # 3 x 2 tiles, of which 5 are cut
            if by_turns:
                read_by_turns(slide)
            found = slide.read_level(0, Region(64, x, 256, 192))
            assert np.array_equal(found, noise(SIDE, SIDE)[64:320, x : x + 192])
            assert kept(slide) == blocks


def test_what_is_drawn_is_kept_and_not_decoded_again(slide: Slide, noise) -> None:
    drawn = pyramid(slide)[0]
    drawn.compute()
    assert kept(slide) >= 25
    slide.reader.ahead.close()
    before = len(slide.decoded)
    assert np.array_equal(drawn.compute(), noise(SIDE, SIDE))
    assert np.array_equal(slide.read_level(0, Region(0, 0, SIDE, SIDE)), noise(SIDE, SIDE))
    assert len(slide.decoded) == before


def test_of_a_region_that_is_there_in_part_the_rest_is_decoded(slide: Slide, noise) -> None:
    slide.read_level(0, Region(128, 128, 128, 128), keep=True)
    assert kept(slide) == 1
    slide.decoded.clear()
    assert np.array_equal(slide.read_level(0, Region(0, 0, SIDE, SIDE)), noise(SIDE, SIDE))
    assert Region(128, 128, 128, 128) not in slide.decoded


def test_reading_all_once_drives_nothing_out(tmp_path: Path, slide: Slide) -> None:
    cache = slide.reader.cache
    slide.read_level(0, Region(0, 0, 256, 256), keep=True)
    cache.max_bytes = cache.statistics.bytes  # it is full now
    for y in range(0, SIDE, TILE):
        slide.read_level(0, Region(y, 0, TILE, SIDE))
    assert cache.statistics.evicted == 0


def test_of_many_threads_one_a_core_reads_and_one_may_wait_for_the_disk(
    tmp_path: Path, noise, write_pyramid, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pyramid(tmp_path / "a.tif", noise(SIDE, SIDE), tile=(TILE, TILE), compression=None)
    rows = [Region(y, 0, TILE, SIDE) for y in range(0, SIDE, TILE)] * 4
    inside, most = [], []

    def slow(level: int, region: Region) -> np.ndarray:
        inside.append(region)
        most.append(len(inside))
        time.sleep(0.01)
        inside.remove(region)
        return plain(level, region)

    with open_slide(tmp_path / "a.tif") as slide, ThreadPoolExecutor(len(rows)) as pool:
        read_by_turns(slide)
        plain = slide.reader.backend.read
        monkeypatch.setattr(slide.reader.backend, "read", slow)
        for region, found in zip(rows, pool.map(partial(slide.read_level, 0), rows), strict=True):
            assert np.array_equal(found, noise(SIDE, SIDE)[region.y : region.bottom])
    assert 1 < max(most) <= CPU_COUNT + 1


def test_a_library_with_threads_of_its_own_is_given_all_there_is_to_read(
    tmp_path: Path, noise, write_zarr, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_zarr(tmp_path / "a.zarr", [noise(SIDE, SIDE)], chunk_px=TILE)
    all_inside = threading.Barrier(CPU_COUNT + 2)

    def wait(level: int, region: Region) -> np.ndarray:
        all_inside.wait(5)
        return plain(level, region)

    with open_slide(tmp_path / "a.zarr") as slide, ThreadPoolExecutor(CPU_COUNT + 2) as pool:
        plain = slide.reader.backend.read
        monkeypatch.setattr(slide.reader.backend, "read", wait)
        tiles = [Region(0, 0, TILE, TILE)] * (CPU_COUNT + 2)
        for found in pool.map(partial(slide.read_level, 0), tiles):
            assert np.array_equal(found, noise(SIDE, SIDE)[:TILE, :TILE])


@pytest.mark.skipif(CPU_COUNT < 2, reason="needs two cores")
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("side", [512, 500])
@pytest.mark.parametrize("alone", [True, False])
def test_a_thread_that_reads_alone_is_helped(
    tmp_path: Path, noise, write_pyramid, monkeypatch, keep: bool, side: int, alone: bool
) -> None:
    write_pyramid(tmp_path / "a.tif", noise(SIDE, SIDE), tile=(TILE, TILE), compression=None)
    with open_slide(tmp_path / "a.tif", cache=TileCache()) as slide:
        if not alone:
            read_by_turns(slide)
        readers = count_readers(slide, monkeypatch)
        found = slide.read_level(0, Region(128, 0, side, side), keep)
        assert np.array_equal(found, noise(SIDE, SIDE)[128 : 128 + side, :side])
        assert (len(readers) > 1) == alone


@pytest.mark.skipif(CPU_COUNT < 2, reason="needs two cores")
def test_a_thread_is_not_helped_with_few_tiles(
    tmp_path: Path, noise, write_pyramid, monkeypatch
) -> None:
    write_pyramid(tmp_path / "a.tif", noise(SIDE, SIDE), tile=(TILE, TILE), compression=None)
    with open_slide(tmp_path / "a.tif", cache=TileCache()) as slide:
        readers = count_readers(slide, monkeypatch)
        slide.read_level(0, Region(0, 0, TILE, 3 * TILE), keep=True)
        assert readers == {threading.get_ident()}


@pytest.mark.skipif(CPU_COUNT < 2, reason="needs two cores")
def test_a_thread_is_not_helped_by_others_than_the_library_s_own(
    tmp_path: Path, noise, write_zarr, monkeypatch
) -> None:
    write_zarr(tmp_path / "a.zarr", [noise(SIDE, SIDE)], chunk_px=TILE)
    with open_slide(tmp_path / "a.zarr", cache=TileCache()) as slide:
        readers = count_readers(slide, monkeypatch)
        found = slide.read_level(0, Region(0, 0, SIDE, SIDE), keep=True)
        assert np.array_equal(found, noise(SIDE, SIDE))
        assert readers == {threading.get_ident()}
