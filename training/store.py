"""Decoded tiles: kept in memory as far as they fit, in a cache on disk, or decoded each time."""

from __future__ import annotations

import math
import os
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.training.cache import cache_path, expect_room, open_cache
from napari_hmkd.training.config import StoredDataSettings
from napari_hmkd.training.parallel import side_by_side
from napari_hmkd.training.rendering import all_pairs, pair_shape
from napari_hmkd.training.room import room_bytes
from napari_hmkd.training.tiles import TileSource


class PairStore(Protocol):
    """Pairs of tiles by index; several threads may read at once."""

    def read(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 2, side, side, 3): H&E, then IHC."""
        ...


class MemoryStore:
    """Pairs in memory once they were read, as many as fit; the others are decoded each time.

    Rendered ones are all rendered at the start, in processes.
    """

    def __init__(self, source: TileSource, room: int) -> None:
        self._source = source
        self._kept = np.empty((room, *pair_shape(source)), np.uint8)
        self._places: dict[int, int] = {}
        self._lock = Lock()
        if source.renders:
            for index, pair in enumerate(all_pairs(source)):
                self._keep(index, pair)

    def read(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """The chosen pairs, (n, 2, side, side, 3).

        Raises
        ------
        DataError
            If one cannot be decoded.
        """
        pairs = np.empty((len(indices), *pair_shape(self._source)), np.uint8)
        wanted = indices.tolist()
        missing = [k for k, index in enumerate(wanted) if index not in self._places]
        for k in set(range(len(wanted))) - set(missing):
            pairs[k] = self._kept[self._places[wanted[k]]]
        decoded = side_by_side(self._source.read, [wanted[k] for k in missing]) if missing else []
        for k, pair in zip(missing, decoded, strict=True):
            pairs[k] = pair
            self._keep(wanted[k], pair)
        return pairs

    def _keep(self, index: int, pair: NDArray[np.uint8]) -> None:
        with self._lock:
            place = len(self._places)
            if place < len(self._kept) and index not in self._places:
                self._kept[place] = pair
                self._places[index] = place


def open_store(source: TileSource, settings: StoredDataSettings, processes: int = 1) -> PairStore:
    """The tiles of a source, kept as the settings say; several processes may ask at once.

    In memory are as many as the machine has room for beside `processes` like this one.

    Raises
    ------
    DataError
        If rendered tiles fit neither the memory allowed nor a cache folder, the machine has less
        memory than is allowed, a tile for the cache is unreadable, or an existing cache is damaged.
    OutputError
        If the cache cannot be written.
    """
    if settings.cache is not None:
        return open_cache(source, settings.cache)
    count, pair = len(source.tiles), math.prod(pair_shape(source))
    room = min(count, room_bytes(settings.memory_gb, count * pair, processes) // pair)
    if source.renders and room < count:
        raise DataError(
            f"the rendered tiles need {count * pair / 1e9:.1f} GB, but {room * pair / 1e9:.1f} fit within "
            f"--memory-gb {settings.memory_gb:g} and this machine: raise it where there is more, ask for "
            "fewer tiles, or name a folder with --cache"
        )
    try:
        return MemoryStore(source, room)
    except MemoryError as error:
        raise DataError(
            f"{room * pair / 1e9:.1f} GB of memory for decoded tiles cannot be had: allow less with "
            "--memory-gb, or name a folder with --cache"
        ) from error


def store_at_hand(
    source: TileSource, settings: StoredDataSettings, processes: int = 1
) -> PairStore | None:
    """The store that opens at once; None where tiles are yet to be rendered, or written to a cache.

    Raises
    ------
    HmkdError
        As `open_store`, whatever shows before all tiles are decoded: too little memory or disk.
    """
    if source.renders:
        return None
    if settings.cache is not None:
        path = cache_path(source, settings.cache)
        if not os.path.isdir(path):
            expect_room(source, path)
            return None
    return open_store(source, settings, processes)
