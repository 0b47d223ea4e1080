"""The one cache of decoded blocks, shared by drawing and grading."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

DEFAULT_BYTES = 512 * 2**20
_MOST_MET = 2**14


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Figures of a `TileCache` since it was made.

    Attributes
    ----------
    hits, misses : int
        Blocks that were there, and blocks that had to be loaded.
    shared : int
        Requests that waited for a load which another thread had begun.
    evicted : int
        Blocks that had to go for others.
    blocks, bytes : int
        What is held now.
    max_bytes : int
        What may be held.
    """

    hits: int
    misses: int
    shared: int
    evicted: int
    blocks: int
    bytes: int
    max_bytes: int

    def __str__(self) -> str:
        """For people."""
        asked = self.hits + self.misses + self.shared
        share = f"{self.hits / asked:.0%} of {asked}" if asked else "0"
        return (
            f"{self.bytes / 2**20:.0f} of {self.max_bytes / 2**20:.0f} MB in {self.blocks} blocks, "
            f"{share} requests found"
        )


class TileCache:
    """Least recently used blocks, bounded in bytes; threads that want one block load it once.

    Blocks are read-only arrays. A load that fails is not kept: the next request tries again.

    Parameters
    ----------
    max_bytes : int
        Most bytes of pixels; a block larger than that is handed out and not kept.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._blocks: OrderedDict[_Key, np.ndarray] = OrderedDict()
        self._loading: dict[_Key, Future[np.ndarray] | None] = {}  # None: nobody waits
        self._released: deque[CacheSection] = deque()
        self._bytes = self._hits = self._misses = self._shared = self._evicted = 0

    def section(self) -> CacheSection:
        """A new slide's part of the cache."""
        return CacheSection(self)

    def get(self, key: _Key, load: Callable[[], np.ndarray]) -> np.ndarray:
        """See `CacheSection.get`."""
        with self._lock:
            if self._released:
                self._drop_released()
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
                self._hits += 1
                return block
            begun: Future[np.ndarray] | None = None
            if key in self._loading:
                self._shared += 1
                begun = self._loading[key] or Future()
            else:
                self._misses += 1
            self._loading[key] = begun
        if begun is not None:
            return begun.result()
        try:
            block = load()
        except BaseException as error:
            with self._lock:
                awaited = self._loading.pop(key)
            if awaited is not None:
                awaited.set_exception(error)
            raise
        block.setflags(write=False)
        with self._lock:
            awaited = self._loading.pop(key)
            self._keep(key, block)
        if awaited is not None:
            awaited.set_result(block)
        return block

    def held(self, keys: Iterable[_Key]) -> set[_Key]:
        """See `CacheSection.held`."""
        with self._lock:
            return {key for key in keys if key in self._blocks}

    def release(self, section: CacheSection) -> None:
        """Forget a section's blocks, at the next request.

        It takes no lock: the garbage collector calls it, perhaps in a thread that holds the lock.
        """
        self._released.append(section)

    @property
    def statistics(self) -> CacheStatistics:
        """The figures of this moment."""
        with self._lock:
            self._drop_released()
            return CacheStatistics(
                self._hits,
                self._misses,
                self._shared,
                self._evicted,
                len(self._blocks),
                self._bytes,
                self.max_bytes,
            )

    def _drop_released(self) -> None:
        gone = set()
        while self._released:
            gone.add(self._released.popleft())
        if gone:
            for key in [key for key in self._blocks if key[0] in gone]:
                self._bytes -= self._blocks.pop(key).nbytes

    def _keep(self, key: _Key, block: np.ndarray) -> None:
        if block.nbytes > self.max_bytes or key[0].released:
            return
        self._blocks[key] = block
        self._bytes += block.nbytes
        while self._bytes > self.max_bytes:
            self._bytes -= self._blocks.popitem(last=False)[1].nbytes
            self._evicted += 1


class CacheSection:
    """One slide's part of a cache, whose blocks go when the slide goes."""

    def __init__(self, cache: TileCache) -> None:
        self.cache = cache
        self.released = False
        self._met: set[Hashable] = set()

    def get(self, key: Hashable, load: Callable[[], np.ndarray]) -> np.ndarray:
        """The block of a key, loaded in this thread unless it is there or another one loads it.

        Raises
        ------
        Exception
            Whatever `load` raised, in every thread that waited for it.
        """
        return self.cache.get((self, key), load)

    def held(self, keys: Iterable[Hashable]) -> set[Hashable]:
        """Those of these blocks that are there; it changes no figure and no order."""
        return {key for _, key in self.cache.held((self, key) for key in keys)}

    def meet(self, keys: Iterable[Hashable]) -> bool:
        """Note that a region needs these blocks; whether one before did, as far as is remembered."""
        keys = set(keys)
        met = not self._met.isdisjoint(keys)
        if len(self._met) > _MOST_MET:
            self._met.clear()  # costs no more than a block that is loaded once again
        self._met |= keys
        return met

    def release(self) -> None:
        """Forget the blocks, those too that are being loaded."""
        self.released = True
        self._met.clear()
        self.cache.release(self)


_Key = tuple[CacheSection, Hashable]

shared_cache = TileCache()
"""What every slide of this process uses unless it is given another."""
