"""Decoded tiles: all in memory, all in one file on disk, or decoded when asked for.

Imports neither torch nor lightning, so that the rendering processes start quickly.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.training.config import DataSettings
from napari_hmkd.training.console import tracked
from napari_hmkd.training.tiles import TileSource

MANY_TILES = 16  # fewer are rendered before processes have started
_source: TileSource | None = None


class PairStore(Protocol):
    """Pairs of tiles by index."""

    def read(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 2, side, side, 3): H&E, then IHC."""
        ...


class MappedStore:
    """All pairs in one array, mapped from a file."""

    def __init__(self, pairs: NDArray[np.uint8]) -> None:
        self._pairs = pairs

    def read(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """A copy of the chosen pairs, (n, 2, side, side, 3)."""
        return self._pairs[indices]


class MemoryStore:
    """The first pairs in memory, as many as fit; the others are decoded when asked for.

    All are read once at the start, so that an unreadable one shows before training begins.
    """

    def __init__(self, source: TileSource, room: int) -> None:
        self._source = source
        self._kept = np.empty((room, *_pair_shape(source)), np.uint8)
        for index, pair in enumerate(_all_pairs(source)):
            if index < room:
                self._kept[index] = pair

    def read(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """The chosen pairs, (n, 2, side, side, 3)."""
        pairs = np.empty((len(indices), *_pair_shape(self._source)), np.uint8)
        kept = indices < len(self._kept)
        pairs[kept] = self._kept[indices[kept]]
        if len(missing := np.flatnonzero(~kept)):
            with ThreadPoolExecutor(_threads()) as threads:
                found = threads.map(self._source.read, indices[missing].tolist())
                for place, pair in zip(missing, found, strict=True):
                    pairs[place] = pair
        return pairs


def open_store(source: TileSource, settings: DataSettings) -> PairStore:
    """The tiles of a source, kept as the settings say.

    Raises
    ------
    DataError
        If rendered tiles fit neither the memory allowed nor a cache folder, or one is unreadable.
    OutputError
        If the cache cannot be written.
    """
    if settings.cache is not None:
        return MappedStore(_cached(source, settings.cache))
    count, pair_gb = len(source.tiles), math.prod(_pair_shape(source)) / 1e9
    room = min(count, int(settings.memory_gb / pair_gb))
    if source.renders and room < count:
        raise DataError(
            f"the rendered tiles need {count * pair_gb:.1f} GB and --memory-gb allows "
            f"{settings.memory_gb:g}: raise it, ask for fewer tiles, or name a folder with --cache"
        )
    return MemoryStore(source, max(room, 0))


def _pair_shape(source: TileSource) -> tuple[int, ...]:
    return (2, source.tile_px, source.tile_px, 3)


def _threads() -> int:
    return min(8, os.cpu_count() or 1)


def _cached(source: TileSource, folder: Path) -> NDArray[np.uint8]:
    """The tiles as a read-only map of a file, which is written first where it is missing.

    The first tile's pixels are part of the name: a changed generator makes a new file.
    """
    digest = hashlib.sha256(source.identity.encode() + source.read(0).tobytes())
    path = folder / f"tiles-{digest.hexdigest()[:16]}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_array(source, path)
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise OutputError(f"the tiles cannot be kept in {folder}: {error}") from error


def _write_array(source: TileSource, path: Path) -> None:
    """Write all tiles as one whole .npy file, in order: a full disk is an error, and no crash."""
    shape = (len(source.tiles), *_pair_shape(source))
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for pair in _all_pairs(source):
                file.write(np.ascontiguousarray(pair).data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _all_pairs(source: TileSource) -> Iterator[NDArray[np.uint8]]:
    """All tiles in order, with progress: processes where pixels are computed, else threads."""
    count, workers = len(source.tiles), os.cpu_count() or 1
    if source.renders and count >= MANY_TILES and workers > 1:
        # Spawned on every system: forking a process that holds torch's threads can hang.
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _hold, (source,))
        pairs = _in_order(pool, _read_held, count)
    else:
        threads = ThreadPoolExecutor(1 if source.renders else _threads())
        pairs = _in_order(threads, source.read, count)
    return tracked(pairs, "Rendering tiles" if source.renders else "Decoding tiles", count)


def _in_order(
    pool: Executor, read: Callable[[int], NDArray[np.uint8]], count: int
) -> Iterator[NDArray[np.uint8]]:
    """Results in order, with few of them waiting in memory."""
    ahead = 4 * (os.cpu_count() or 1)
    waiting: deque[Future[NDArray[np.uint8]]] = deque()
    with pool:
        try:
            for index in range(count):
                waiting.append(pool.submit(read, index))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that renders tiles died, perhaps for lack of memory: try again, or ask "
                "for smaller tiles"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _hold(source: TileSource) -> None:
    global _source
    _source = source
    # There is a process for each core: BLAS threads would only fight over them.
    threadpool_limits(1, user_api="blas")


def _read_held(index: int) -> NDArray[np.uint8]:
    assert _source is not None
    return _source.read(index)
