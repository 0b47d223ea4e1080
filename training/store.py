"""Decoded tiles: in memory as far as they fit, in a cache on disk, or decoded when asked for."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.training.cache import open_cache
from napari_hmkd.training.config import StoredDataSettings
from napari_hmkd.training.parallel import side_by_side
from napari_hmkd.training.rendering import all_pairs, pair_shape
from napari_hmkd.training.tiles import TileSource


class PairStore(Protocol):
    """Pairs of tiles by index; several threads may read at once."""

    def read(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 2, side, side, 3): H&E, then IHC."""
        ...


class MemoryStore:
    """The first pairs in memory, as many as fit; the others are decoded when asked for.

    All are read once at the start, so that an unreadable one shows before training begins.
    """

    def __init__(self, source: TileSource, room: int) -> None:
        self._source = source
        self._kept = np.empty((room, *pair_shape(source)), np.uint8)
        for index, pair in enumerate(all_pairs(source)):
            if index < room:
                self._kept[index] = pair

    def read(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """The chosen pairs, (n, 2, side, side, 3)."""
        pairs = np.empty((len(indices), *pair_shape(self._source)), np.uint8)
        kept = indices < len(self._kept)
        for place in np.flatnonzero(kept):
            pairs[place] = self._kept[indices[place]]
        missing = np.flatnonzero(~kept)
        if len(missing):
            pairs[missing] = side_by_side(self._source.read, indices[missing].tolist())
        return pairs


def open_store(source: TileSource, settings: StoredDataSettings) -> PairStore:
    """The tiles of a source, kept as the settings say; several processes may ask at once.

    Raises
    ------
    DataError
        If rendered tiles fit neither the memory allowed nor a cache folder, a tile is unreadable,
        or an existing cache is damaged.
    OutputError
        If the cache cannot be written.
    """
    if settings.cache is not None:
        return open_cache(source, settings.cache)
    count, pair_gb = len(source.tiles), math.prod(pair_shape(source)) / 1e9
    room = min(count, int(settings.memory_gb / pair_gb))
    if source.renders and room < count:
        raise DataError(
            f"the rendered tiles need {count * pair_gb:.1f} GB and --memory-gb allows "
            f"{settings.memory_gb:g}: raise it, ask for fewer tiles, or name a folder with --cache"
        )
    return MemoryStore(source, room)
