"""The cache of blocks: bounded, loaded once, shared by threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.slide.cache import TileCache

KILOBYTE = 1000


def block(fill: int = 0, size: int = KILOBYTE) -> np.ndarray:
    return np.full(size, fill, np.uint8)


def test_a_block_is_loaded_once_and_cannot_be_changed() -> None:
    cache = TileCache()
    loads = []
    for _ in range(3):
        found = cache.get("a", lambda: loads.append(1) or block(7))
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 1
    assert len(loads) == 1
    assert (cache.statistics.hits, cache.statistics.misses) == (2, 1)


def test_the_least_recently_used_goes_first() -> None:
    cache = TileCache(3 * KILOBYTE)
    for key in "abc":
        cache.get(key, block)
    cache.get("a", block)
    cache.get("d", block)
    assert [cache.holds([key]) for key in "abcd"] == [True, False, True, True]
    assert (cache.statistics.evicted, cache.statistics.bytes) == (1, 3 * KILOBYTE)


def test_a_block_larger_than_the_cache_is_handed_out_and_empties_nothing() -> None:
    cache = TileCache(2 * KILOBYTE)
    cache.get("a", block)
    assert len(cache.get("giant", lambda: block(1, 5 * KILOBYTE))) == 5 * KILOBYTE
    assert cache.holds(["a"])
    assert not cache.holds(["giant"])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 400)), max_size=60))
def test_it_never_holds_more_than_it_may(requests: list[tuple[int, int]]) -> None:
    cache = TileCache(1000)
    sizes: dict[int, int] = {}
    for key, size in requests:
        found = cache.get(
            key, lambda size=size, key=key: sizes.update({key: size}) or block(key, size)
        )
        assert len(found) == sizes[key]
        held = [key for key in sizes if cache.holds([key])]
        assert cache.statistics.bytes == sum(sizes[key] for key in held) <= 1000
        assert cache.statistics.blocks == len(held)


def test_threads_that_want_one_block_load_it_once() -> None:
    cache = TileCache()
    loads, go = [], threading.Event()

    def load() -> np.ndarray:
        loads.append(1)
        go.wait(5)
        return block(3)

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(cache.get, "a", load) for _ in range(8)]
        while cache.statistics.shared < 7:
            pass
        go.set()
        assert all((found.result() == 3).all() for found in waiting)
    assert len(loads) == 1


def test_a_load_that_fails_fails_for_all_and_is_tried_again() -> None:
    cache = TileCache()
    go = threading.Event()

    def fail() -> np.ndarray:
        go.wait(5)
        raise OSError("no disk")

    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(cache.get, "a", fail) for _ in range(3)]
        while cache.statistics.shared < 2:
            pass
        go.set()
        for one in waiting:
            with pytest.raises(OSError, match="no disk"):
                one.result()
    assert (cache.get("a", lambda: block(5)) == 5).all()


def test_blocks_of_one_owner_are_dropped() -> None:
    cache = TileCache()
    mine, other = object(), object()
    cache.get((mine, 0), block)
    cache.get((other, 0), block)
    cache.drop(mine)
    assert not cache.holds([(mine, 0)])
    assert cache.holds([(other, 0)])
    assert cache.statistics.bytes == KILOBYTE
