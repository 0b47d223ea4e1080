"""The one cache of decoded blocks, shared by drawing and grading."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

DEFAULT_BYTES = 512 * 2**20


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
        self._blocks: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._loading: dict[Hashable, Future[np.ndarray]] = {}
        self._bytes = self._hits = self._misses = self._shared = self._evicted = 0

    def get(self, key: Hashable, load: Callable[[], np.ndarray]) -> np.ndarray:
        """The block of a key, loaded in this thread unless it is there or another one loads it.

        Raises
        ------
        Exception
            Whatever `load` raised, in every thread that waited for it.
        """
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
                self._hits += 1
                return block
            begun = self._loading.get(key)
            if begun is None:
                future: Future[np.ndarray] = Future()
                self._loading[key] = future
                self._misses += 1
            else:
                self._shared += 1
        if begun is not None:
            return begun.result()
        try:
            block = load()
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            future.set_exception(error)
            raise
        block.setflags(write=False)
        with self._lock:
            del self._loading[key]
            self._keep(key, block)
        future.set_result(block)
        return block

    def holds(self, keys: Iterable[Hashable]) -> bool:
        """Whether all of these blocks are there; it changes no figure and no order."""
        with self._lock:
            return all(key in self._blocks for key in keys)

    def drop(self, owner: object) -> None:
        """Forget the blocks whose keys are tuples that begin with `owner`."""
        with self._lock:
            mine = [key for key in self._blocks if isinstance(key, tuple) and key[0] is owner]
            for key in mine:
                self._bytes -= self._blocks.pop(key).nbytes

    @property
    def statistics(self) -> CacheStatistics:
        """The figures of this moment."""
        with self._lock:
            return CacheStatistics(
                self._hits,
                self._misses,
                self._shared,
                self._evicted,
                len(self._blocks),
                self._bytes,
                self.max_bytes,
            )

    def _keep(self, key: Hashable, block: np.ndarray) -> None:
        if block.nbytes > self.max_bytes:
            return
        self._blocks[key] = block
        self._bytes += block.nbytes
        while self._bytes > self.max_bytes:
            self._bytes -= self._blocks.popitem(last=False)[1].nbytes
            self._evicted += 1


shared_cache = TileCache()
"""What every slide of this process uses unless it is given another."""
