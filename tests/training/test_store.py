"""Tiles in memory, partly in memory, and in a cache on disk give the same pixels."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from filelock import FileLock

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.training.cache import cache_path
from napari_hmkd.training.config import CohortSettings, StoredDataSettings
from napari_hmkd.training.rendering import MANY_TILES
from napari_hmkd.training.sources.opening import open_source
from napari_hmkd.training.store import open_store, store_at_hand
from napari_hmkd.training.tiles import Tile

PAIR_GB = 2 * 8 * 8 * 3 / 1e9
SOME = np.array([4, 0, 3])


def caches(folder: Path) -> list[Path]:
    """Whole and partial ones, without the files by which processes wait for each other."""
    return sorted(folder.glob("tiles-*"))


@pytest.mark.parametrize("pairs_in_memory", [0, 1, 3])
def test_memory_keeps_what_was_read_first_and_changes_no_pixel(
    random_source, pairs_in_memory: int
) -> None:
    settings = StoredDataSettings(memory_gb=PAIR_GB * (pairs_in_memory + 0.5))
    store = open_store(random_source, settings)
    assert random_source.readings == 0
    for reading in (1, 2):
        np.testing.assert_array_equal(store.read(SOME), random_source.pairs[SOME])
        assert random_source.readings == 3 + (reading - 1) * (3 - pairs_in_memory)


def test_threads_may_fill_the_memory_together(random_source) -> None:
    store = open_store(random_source, StoredDataSettings(memory_gb=PAIR_GB * 4.5))
    draws = [np.random.default_rng(k).permutation(6) for k in range(64)]
    with ThreadPoolExecutor(8) as pool:
        for drawn, found in zip(draws, pool.map(store.read, draws), strict=True):
            np.testing.assert_array_equal(found, random_source.pairs[drawn])
    filled = random_source.readings
    store.read(np.arange(6))
    assert random_source.readings == filled + 2


@pytest.mark.parametrize(
    ("machine_pairs", "processes", "kept"),
    [(12, 1, 4), (25, 2, 4), (17, 1, 6), (9, 1, 2), (15, 2, 1), (3, 1, 0)],
)
def test_no_more_is_kept_than_the_machine_has_memory_for(
    random_source, monkeypatch, capsys, machine_pairs: int, processes: int, kept: int
) -> None:
    total = int(machine_pairs * PAIR_GB * 1e9)
    monkeypatch.setattr("napari_hmkd.training.room.LEFT_BYTES", int(8 * PAIR_GB * 1e9))
    monkeypatch.setattr("napari_hmkd.training.room.machine_memory", lambda: total)
    store = open_store(random_source, StoredDataSettings(memory_gb=31), processes)
    warned = capsys.readouterr().err
    for _ in range(2):
        store.read(np.arange(6))
    assert random_source.readings == 6 + (6 - kept)
    assert ("not --memory-gb 31: this machine has" in warned) == (kept < 6)
    assert ("for 2 processes" in warned) == (processes == 2)


def test_more_memory_than_can_be_had_is_refused_in_words(random_source, monkeypatch) -> None:
    monkeypatch.setattr("napari_hmkd.training.room.machine_memory", lambda: 10**20)
    random_source.tile_px = 10**8
    settings = StoredDataSettings(memory_gb=1e9)
    with pytest.raises(DataError, match=r"360000000\.0 GB .* cannot be had: .* --memory-gb"):
        open_store(random_source, settings)


@pytest.mark.parametrize("cached", [False, True])
def test_a_store_is_at_hand_where_nothing_is_left_to_be_written(
    random_source, tmp_path: Path, cached: bool
) -> None:
    settings = StoredDataSettings(cache=tmp_path if cached else None)
    if cached:
        assert store_at_hand(random_source, settings) is None
        assert caches(tmp_path) == []
        open_store(random_source, settings)
    store = store_at_hand(random_source, settings)
    np.testing.assert_array_equal(store.read(SOME), random_source.pairs[SOME])


def test_tiles_that_are_yet_to_be_rendered_are_not_at_hand(random_source) -> None:
    random_source.renders = True
    assert store_at_hand(random_source, StoredDataSettings()) is None
    assert random_source.readings == 0


def test_a_cache_is_written_once_and_then_shared(random_source, tmp_path: Path) -> None:
    settings = StoredDataSettings(cache=tmp_path / "Zwischen lager", memory_gb=0)
    first = open_store(random_source, settings).read(SOME)
    written = random_source.readings
    second = open_store(random_source, settings).read(SOME)
    np.testing.assert_array_equal(first, random_source.pairs[SOME])
    np.testing.assert_array_equal(second, first)
    # The second run reads one tile, to see whether the pixels are still those of the cache.
    assert random_source.readings == written + 1
    (folder,) = caches(settings.cache)
    assert zarr.open_array(folder, mode="r").chunks == (1, 2, 8, 8, 3)


def test_other_pixels_make_another_cache(random_source, tmp_path: Path) -> None:
    settings = StoredDataSettings(cache=tmp_path)
    open_store(random_source, settings)
    random_source.pairs = 255 - random_source.pairs
    store = open_store(random_source, settings)
    np.testing.assert_array_equal(store.read(SOME), random_source.pairs[SOME])
    assert len(caches(tmp_path)) == 2


def test_black_tiles_can_be_cached(random_source, tmp_path: Path) -> None:
    random_source.pairs[3] = 0
    store = open_store(random_source, StoredDataSettings(cache=tmp_path))
    np.testing.assert_array_equal(store.read(SOME), random_source.pairs[SOME])


def test_an_unreadable_tile_leaves_no_half_cache(random_source, tmp_path: Path) -> None:
    def read(index: int) -> np.ndarray:
        if index == 4:
            raise DataError("tile 4 cannot be decoded")
        return random_source.pairs[index]

    random_source.read = read
    with pytest.raises(DataError, match="tile 4"):
        open_store(random_source, StoredDataSettings(cache=tmp_path))
    assert caches(tmp_path) == []


@pytest.mark.parametrize("cached", [False, True])
def test_an_unreadable_picture_is_named(bci_folder, tmp_path: Path, cached: bool) -> None:
    folder = bci_folder(train=1, test=0)
    broken = sorted((folder / "IHC" / "train").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:-200])
    settings = StoredDataSettings(cache=tmp_path / "cache" if cached else None)
    source = open_source(str(folder), CohortSettings(), settings)
    with pytest.raises(DataError) as caught:
        open_store(source, settings).read(np.arange(4))
    assert str(broken) in str(caught.value)


def test_a_cache_where_a_file_is_in_the_way_is_refused(random_source, tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("in the way", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be kept in"):
        open_store(random_source, StoredDataSettings(cache=blocked))


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """The system refuses to write beyond this size, as a full disk does."""
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def large_source(source):
    """Pairs of 240 kB, larger than what pytest itself writes in the meantime."""
    source.pairs = np.random.default_rng(0).integers(0, 256, (3, 2, 200, 200, 3), np.uint8)
    source.tiles, source.tile_px = source.tiles[:3], 200
    return source


def test_a_disk_that_fills_up_leaves_no_half_cache(random_source, tmp_path: Path) -> None:
    source = large_source(random_source)
    settings = StoredDataSettings(cache=tmp_path / "voll")
    with (
        files_no_larger_than(200_000),
        pytest.raises(OutputError, match=r"voll, where they need 0\.0 GB: .*File too large"),
    ):
        open_store(source, settings)
    assert caches(settings.cache) == []
    assert open_store(source, settings).read(np.array([2])).shape == (1, 2, 200, 200, 3)


def test_too_small_a_disk_is_refused_before_anything_is_rendered(
    random_source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(OutputError, match=r"need 0\.0 GB: the disk has 0\.0 GB left"):
        open_store(random_source, StoredDataSettings(cache=tmp_path))
    assert random_source.readings == 1
    assert caches(tmp_path) == []


def test_room_is_not_missed_that_another_run_fills_with_the_same_cache(
    random_source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StoredDataSettings(cache=tmp_path)
    path = cache_path(random_source, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with FileLock(path.with_name(f".{path.stem}.lock")):
        assert store_at_hand(random_source, settings) is None
    with pytest.raises(OutputError, match="the disk has"):
        store_at_hand(random_source, settings)


def test_of_two_that_want_the_same_cache_one_fills_it(random_source, tmp_path: Path) -> None:
    read = {number: [] for number in (0, 1)}
    asked = threading.Barrier(2, timeout=20)
    stores = {}

    def source_of(number: int):
        def read_tile(index: int) -> np.ndarray:
            read[number].append(index)
            if len(read[number]) == 1:
                asked.wait()  # neither finds a cache
            return random_source.pairs[index]

        names = ("tiles", "tile_px", "identity", "renders")
        given = {name: getattr(random_source, name) for name in names}
        return SimpleNamespace(read=read_tile, **given)

    def fill(number: int) -> None:
        stores[number] = open_store(source_of(number), StoredDataSettings(cache=tmp_path))

    threads = [threading.Thread(target=fill, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caches(tmp_path)) == 1
    assert min(map(len, read.values())) == 1
    for number in (0, 1):
        np.testing.assert_array_equal(stores[number].read(SOME), random_source.pairs[SOME])


DAMAGES = {
    "missing chunk": lambda folder: (folder / "c.3.0.0.0.0").unlink(),
    "cut chunk": lambda folder: os.truncate(folder / "c.3.0.0.0.0", 100),
    "changed pixel": lambda folder: (folder / "c.3.0.0.0.0").write_bytes(bytes(2 * 8 * 8 * 3 + 4)),
    "no metadata": lambda folder: (folder / "zarr.json").unlink(),
    "cut metadata": lambda folder: os.truncate(folder / "zarr.json", 20),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_an_error_and_no_black_tile(random_source, tmp_path, damage) -> None:
    settings = StoredDataSettings(cache=tmp_path)
    open_store(random_source, settings)
    (folder,) = caches(tmp_path)
    damage(folder)
    with pytest.raises(DataError, match=r"damaged .* remove that folder") as caught:
        open_store(random_source, settings).read(SOME)
    assert str(folder) in str(caught.value)


def test_a_tile_that_goes_while_the_cache_is_open_is_an_error(random_source, tmp_path) -> None:
    store = open_store(random_source, StoredDataSettings(cache=tmp_path))
    (folder,) = caches(tmp_path)
    DAMAGES["missing chunk"](folder)
    with pytest.raises(DataError, match=r"c\.3\.0\.0\.0\.0 has gone"):
        store.read(SOME)


def test_a_cache_of_another_shape_is_an_error(random_source, tmp_path: Path) -> None:
    settings = StoredDataSettings(cache=tmp_path)
    open_store(random_source, settings)
    random_source.tiles = [*random_source.tiles, Tile("one more", 0)]
    with pytest.raises(DataError, match=r"uint8 of shape \(6, 2, 8, 8, 3\), not \(7,"):
        open_store(random_source, settings)


@pytest.mark.parametrize(("age_days", "stays"), [(0, True), (2, False)])
def test_what_a_killed_run_left_is_removed_in_time(
    random_source, tmp_path: Path, age_days: int, stays: bool
) -> None:
    open_store(random_source, StoredDataSettings(cache=tmp_path))
    (folder,) = caches(tmp_path)
    left = folder.with_name(f"{folder.stem}-0123abc.partial")
    folder.rename(left)
    written = time.time() - age_days * 24 * 3600
    os.utime(left, (written, written))
    open_store(random_source, StoredDataSettings(cache=tmp_path))
    assert set(caches(tmp_path)) == ({folder, left} if stays else {folder})


def test_rendered_tiles_are_not_rendered_over_and_over(random_source) -> None:
    random_source.renders = True
    with pytest.raises(DataError, match=r"need 0\.0 GB, but 0\.0 fit .*--cache"):
        open_store(random_source, StoredDataSettings(memory_gb=PAIR_GB))
    assert random_source.readings == 0


def test_processes_render_the_same_pixels_as_this_one() -> None:
    cohort = CohortSettings(patients=1, tiles_per_patient=MANY_TILES, tile_px=256)
    source = open_source("procedural", cohort, StoredDataSettings())
    assert len(source.tiles) >= MANY_TILES
    pairs = open_store(source, StoredDataSettings()).read(np.array([0, 15]))
    np.testing.assert_array_equal(pairs, [source.read(0), source.read(15)])
