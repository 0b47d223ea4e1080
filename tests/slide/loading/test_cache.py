"""The cache of blocks: bounded, loaded once, shared by threads."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.slide.loading.cache import TileCache

KILOBYTE = 1000


def block(fill: int = 0, size: int = KILOBYTE) -> np.ndarray:
    return np.full(size, fill, np.uint8)


def test_a_block_is_loaded_once_and_cannot_be_changed() -> None:
    cache = TileCache()
    mine = cache.section()
    loads = []
    for _ in range(3):
        found = mine.get("a", lambda: loads.append(1) or block(7))
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 1
    assert len(loads) == 1
    assert (cache.statistics.hits, cache.statistics.misses) == (2, 1)


def test_the_least_recently_used_goes_first() -> None:
    cache = TileCache(3 * KILOBYTE)
    mine = cache.section()
    for key in "abc":
        mine.get(key, block)
    mine.get("a", block)
    mine.get("d", block)
    assert mine.held("abcd") == {"a", "c", "d"}
    assert (cache.statistics.evicted, cache.statistics.bytes) == (1, 3 * KILOBYTE)


def test_a_block_larger_than_the_cache_is_handed_out_and_empties_nothing() -> None:
    cache = TileCache(2 * KILOBYTE)
    mine = cache.section()
    mine.get("a", block)
    assert len(mine.get("giant", lambda: block(1, 5 * KILOBYTE))) == 5 * KILOBYTE
    assert mine.held(["a"]) == {"a"}
    assert not mine.held(["giant"])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 400)), max_size=60))
def test_it_never_holds_more_than_it_may(requests: list[tuple[int, int]]) -> None:
    cache = TileCache(1000)
    mine = cache.section()
    sizes: dict[int, int] = {}
    for key, size in requests:
        found = mine.get(
            key, lambda size=size, key=key: sizes.update({key: size}) or block(key, size)
        )
        assert len(found) == sizes[key]
        held = [key for key in sizes if mine.held([key])]
        assert cache.statistics.bytes == sum(sizes[key] for key in held) <= 1000
        assert cache.statistics.blocks == len(held)


def test_threads_that_want_one_block_load_it_once() -> None:
    cache = TileCache()
    mine = cache.section()
    loads, go = [], threading.Event()

    def load() -> np.ndarray:
        loads.append(1)
        go.wait(5)
        return block(3)

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(mine.get, "a", load) for _ in range(8)]
        while cache.statistics.shared < 7:
            pass
        go.set()
        assert all((found.result() == 3).all() for found in waiting)
    assert len(loads) == 1


def test_a_load_that_fails_fails_for_all_and_is_tried_again() -> None:
    cache = TileCache()
    mine = cache.section()
    go = threading.Event()

    def fail() -> np.ndarray:
        go.wait(5)
        raise OSError("no disk")

    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(mine.get, "a", fail) for _ in range(3)]
        while cache.statistics.shared < 2:
            pass
        go.set()
        for one in waiting:
            with pytest.raises(OSError, match="no disk"):
                one.result()
    assert (mine.get("a", lambda: block(5)) == 5).all()


def test_blocks_of_a_slide_that_goes_are_forgotten() -> None:
    cache = TileCache()
    mine, other = cache.section(), cache.section()
    mine.get(0, block)
    other.get(0, block)
    mine.release()
    assert cache.statistics.bytes == KILOBYTE
    assert not mine.held([0])
    assert other.held([0]) == {0}


def test_the_next_request_gives_back_the_memory_of_a_slide_that_went() -> None:
    cache = TileCache()
    mine, other = cache.section(), cache.section()
    kept = weakref.ref(mine.get(0, block))
    mine.release()
    other.get(0, block)
    assert kept() is None


def test_a_load_that_ends_after_its_slide_went_is_not_kept() -> None:
    cache = TileCache()
    mine, other = cache.section(), cache.section()

    def load() -> np.ndarray:
        mine.release()
        other.get(1, block)  # with which the slide's blocks are gone already
        return block(4)

    assert (mine.get(0, load) == 4).all()
    assert cache.statistics.blocks == 1


def test_a_slide_may_go_while_the_cache_is_locked() -> None:
    """The garbage collector lets slides go in whatever thread it runs, in the middle of a request."""
    cache = TileCache()
    mine, other = cache.section(), cache.section()
    mine.get(0, block)

    def keys():
        mine.release()  # runs inside `held`
        yield 0

    asked = threading.Thread(target=lambda: other.held(keys()), daemon=True)
    asked.start()
    asked.join(5)
    assert not asked.is_alive()
    assert cache.statistics.blocks == 0


def test_what_was_met_is_forgotten_in_time() -> None:
    mine = TileCache().section()
    assert [mine.meet([key]) for key in (-1, -1)] == [False, True]
    assert not any(mine.meet([key]) for key in range(2**15))
    assert not mine.meet([-1])
