"""Decoded tiles in a zarr array on disk, which teacher and student runs share.

The array is not compressed: on two cores, with the files in the page cache, rendered pairs of
512 px are read at 2600 a second; zstd (level 1) makes that 410 for 0.75 of the space, blosc's lz4
1150 for 0.91 (real pairs of 1024 px: 730, 130 for 0.62, 250 for 0.87). The checksum (2000) stays:
it finds what a failing disk leaves. Measured on 2026-11-22.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import zarr
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.leftovers import patiently
from napari_hmkd.training.parallel import side_by_side
from napari_hmkd.training.rendering import all_pairs, pair_shape
from napari_hmkd.training.tiles import TileSource

ABANDONED_S = 24 * 3600  # a partial cache that nobody wrote to for so long is a killed run's


class ZarrStore:
    """Pairs of a zarr array, one to a chunk.

    Raises
    ------
    DataError
        If the array is not the one that was written, or a chunk of it is missing.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self._folder = folder
        try:
            array = zarr.open_array(folder, mode="r")
            present = set(os.listdir(folder))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(str(error)) from error
        if array.shape != shape or array.dtype != np.uint8 or array.chunks != (1, *shape[1:]):
            raise self._damaged(f"it holds {array.dtype} of shape {array.shape}, not {shape}")
        self._array = array
        missing = sum(self._name(index) not in present for index in range(shape[0]))
        if missing:
            raise self._damaged(f"{missing} of {shape[0]} tiles are missing")

    def read(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """The chosen pairs, (n, 2, side, side, 3), read in threads.

        Raises
        ------
        DataError
            If one is damaged or has gone.
        """
        return np.stack(side_by_side(self._pair, indices.tolist()))

    def _pair(self, index: int) -> NDArray[np.uint8]:
        # To zarr a missing chunk is one of zeros: it would become a black tile.
        if not (self._folder / self._name(index)).is_file():
            raise self._damaged(f"{self._name(index)} has gone")
        try:
            return np.asarray(self._array[index])
        except (OSError, ValueError) as error:
            raise self._damaged(f"{self._name(index)}: {error}") from error

    def _name(self, index: int) -> str:
        return self._array.metadata.encode_chunk_key((index, 0, 0, 0, 0))

    def _damaged(self, reason: str) -> DataError:
        return DataError(
            f"the cached tiles in {self._folder} are damaged ({reason}): remove that folder, and "
            "the next run writes it anew"
        )


def cache_path(source: TileSource, folder: Path) -> Path:
    """Where a folder of caches keeps the tiles of a source.

    The first tile's pixels are part of the name: a changed generator makes a new cache.

    Raises
    ------
    DataError
        If that tile is unreadable.
    """
    digest = hashlib.sha256(source.identity.encode() + source.read(0).tobytes())
    return folder / f"tiles-{digest.hexdigest()[:16]}.zarr"


def open_cache(source: TileSource, folder: Path) -> ZarrStore:
    """The tiles of a source in a folder of caches, written first where they are missing.

    Of several processes one writes them, and the others wait for that.

    Raises
    ------
    DataError
        If a tile is unreadable, or an existing cache is damaged.
    OutputError
        If the tiles cannot be written; what was written of them is removed.
    """
    path = cache_path(source, folder)
    if not os.path.isdir(path):  # pathlib raises where it may not look, before anything is said
        with _written(source, path), _lock_of(path):
            if not path.is_dir():
                _make_room(source, path)
                _write(source, path, _shape(source))
    return ZarrStore(path, _shape(source))


def expect_room(source: TileSource, path: Path) -> None:
    """See whether its disk is large enough for a cache, long before its tiles are written.

    Nothing is asked while another process is writing this cache.

    Raises
    ------
    OutputError
        If there is no room for the tiles.
    """
    with _written(source, path), suppress(Timeout), _lock_of(path).acquire(timeout=0):
        _make_room(source, path)


def _make_room(source: TileSource, path: Path) -> None:
    """Remove what killed runs left of a cache, and refuse a disk that is too small for it (OSError)."""
    _remove_abandoned(path)
    free = shutil.disk_usage(path.parent).free
    if free < math.prod(_shape(source)):
        raise OSError(f"the disk has {free / 1e9:.1f} GB left")


def _lock_of(path: Path) -> FileLock:
    return FileLock(path.with_name(f".{path.stem}.lock"))


def _shape(source: TileSource) -> tuple[int, ...]:
    return (len(source.tiles), *pair_shape(source))


@contextmanager
def _written(source: TileSource, path: Path) -> Iterator[None]:
    """Make a cache's folder; what the system refuses in here is an error that says where and how much."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        need = math.prod(_shape(source)) / 1e9
        raise OutputError(
            f"the tiles cannot be kept in {path.parent}, where they need {need:.1f} GB: {error}"
        ) from error


def _write(source: TileSource, path: Path, shape: tuple[int, ...]) -> None:
    """Write all tiles beside `path`, and move them there when they are whole."""
    partial = path.with_name(f"{path.stem}-{uuid4().hex}.partial")
    try:
        array = zarr.create_array(
            partial,
            shape=shape,
            chunks=(1, *shape[1:]),
            dtype=np.uint8,
            compressors=[Crc32cCodec()],
            filters=None,
            fill_value=0,
            # One file per tile in one folder, an all-black one too: a missing file is a damage.
            chunk_key_encoding={"name": "default", "separator": "."},
            config={"write_empty_chunks": True},
        )
        for index, pair in enumerate(all_pairs(source)):
            array[index] = pair
        try:
            patiently(lambda: partial.rename(path))
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed runs left of the same cache."""
    for partial in path.parent.glob(f"{path.stem}-*.partial"):
        try:
            age = time.time() - partial.stat().st_mtime
        except FileNotFoundError:  # its run has just ended
            continue
        if age > ABANDONED_S:
            shutil.rmtree(partial, ignore_errors=True)
