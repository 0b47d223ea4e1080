"""Decoded tiles: all in memory, all in one file on disk, or decoded when asked for.

Imports neither torch nor lightning, so that the rendering processes start quickly.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.training.config import DataSettings
from napari_hmkd.training.sources import TileSource

_source: TileSource | None = None


class PairStore(Protocol):
    """Pairs of tiles by index."""

    def read(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """(n, 2, side, side, 3): H&E, then IHC."""
        ...


class ArrayStore:
    """Pairs held in one array, in memory or mapped from a file."""

    def __init__(self, pairs: NDArray[np.uint8]) -> None:
        self._pairs = pairs

    def read(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """A copy of the chosen pairs, (n, 2, side, side, 3)."""
        return self._pairs[np.asarray(indices)]


class DecodingStore:
    """Pairs decoded by a few threads each time they are asked for."""

    def __init__(self, source: TileSource) -> None:
        self._source = source
        self._threads = ThreadPoolExecutor(min(8, os.cpu_count() or 1))

    def read(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """The chosen pairs, (n, 2, side, side, 3)."""
        return np.stack(list(self._threads.map(self._source.read, indices)))


def open_store(source: TileSource, settings: DataSettings) -> PairStore:
    """The tiles of a source, kept as the settings say.

    Raises
    ------
    DataError
        If rendered tiles fit neither the memory allowed nor a cache folder, or one is unreadable.
    OutputError
        If the cache cannot be written.
    """
    shape = (len(source.tiles), 2, source.tile_px, source.tile_px, 3)
    needed_gb = math.prod(shape) / 1e9
    if settings.cache is not None:
        return ArrayStore(_cached(source, settings.cache, shape))
    if needed_gb <= settings.memory_gb:
        pairs = np.empty(shape, np.uint8)
        _read_all(source, pairs)
        return ArrayStore(pairs)
    if source.renders:
        raise DataError(
            f"the rendered tiles need {needed_gb:.1f} GB and --memory-gb allows "
            f"{settings.memory_gb:g}: raise it, ask for fewer tiles, or name a folder with --cache"
        )
    return DecodingStore(source)


def _cached(source: TileSource, folder: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The tiles as a read-only map of a file, which is written first where it is missing.

    The first tile's pixels are part of the name: a changed generator makes a new file.
    """
    digest = hashlib.sha256(source.identity.encode() + source.read(0).tobytes())
    path = folder / f"tiles-{digest.hexdigest()[:16]}.npy"
    if not path.exists():
        partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.npy")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pairs = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
            _read_all(source, pairs)
            pairs.flush()
            del pairs
            os.replace(partial, path)
        except OSError as error:
            raise OutputError(f"the tiles cannot be kept in {folder}: {error}") from error
        finally:
            partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def _read_all(source: TileSource, pairs: NDArray[np.uint8]) -> None:
    """Fill the array, with progress."""
    word = "Rendering tiles" if source.renders else "Decoding tiles"
    with _reader(source) as tiles:
        for index, pair in enumerate(track(tiles, word, total=len(pairs))):
            pairs[index] = pair


@contextmanager
def _reader(source: TileSource) -> Iterator[Iterator[NDArray[np.uint8]]]:
    """All tiles in order: processes where pixels are computed, threads where they are decoded."""
    count, workers = len(source.tiles), os.cpu_count() or 1
    if source.renders and count > 8 and workers > 1:
        # Spawned on every system: forking a process that holds torch's threads can hang.
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _hold, (source,))
        with pool:
            try:
                yield pool.map(_read_held, range(count), chunksize=4)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
    else:
        with ThreadPoolExecutor(1 if source.renders else min(8, workers)) as threads:
            yield threads.map(source.read, range(count))


def _hold(source: TileSource) -> None:
    global _source
    _source = source


def _read_held(index: int) -> NDArray[np.uint8]:
    assert _source is not None
    return _source.read(index)
