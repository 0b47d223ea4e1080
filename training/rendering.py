"""All pairs of a source once, in order: processes where pixels are computed, else threads.

Imports neither torch nor lightning nor zarr, so that the rendering processes start quickly.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
from dask.system import CPU_COUNT
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from napari_hmkd.errors import DataError
from napari_hmkd.training.console import tracked
from napari_hmkd.training.parallel import in_order, processes, threads
from napari_hmkd.training.tiles import TileSource

MANY_TILES = 16  # fewer are rendered before processes have started
_source: TileSource | None = None


def pair_shape(source: TileSource) -> tuple[int, int, int, int]:
    """(2, side, side, 3)."""
    return (2, source.tile_px, source.tile_px, 3)


def all_pairs(source: TileSource) -> Iterator[NDArray[np.uint8]]:
    """Each pair, (2, side, side, 3), in order, with progress.

    Raises
    ------
    DataError
        If a pair is unreadable or a rendering process dies.
    """
    count, workers = len(source.tiles), CPU_COUNT
    if source.renders and count >= MANY_TILES and workers > 1:
        pairs = _rendered(processes(workers, _hold, source), count, ahead=4 * workers)
    else:
        pool = ThreadPoolExecutor(1) if source.renders else threads()
        pairs = in_order(pool, source.read, range(count), ahead=4 * workers)
    return tracked(pairs, "Rendering tiles" if source.renders else "Decoding tiles", count)


def _rendered(pool: ProcessPoolExecutor, count: int, ahead: int) -> Iterator[NDArray[np.uint8]]:
    try:
        yield from in_order(pool, _read_held, range(count), ahead)
    except BrokenProcessPool as error:
        raise DataError(
            "a process that renders tiles died, perhaps for lack of memory: try again, or ask "
            "for smaller tiles"
        ) from error


def _hold(source: TileSource) -> None:
    global _source
    _source = source
    # There is a process for each core: BLAS threads would only fight over them.
    threadpool_limits(1, user_api="blas")


def _read_held(index: int) -> NDArray[np.uint8]:
    assert _source is not None
    return _source.read(index)
