"""Tiles in memory, partly in memory, and in a cache on disk give the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.training.config import CohortSettings, DataSettings, Labels
from napari_hmkd.training.store import open_store

PAIR_GB = 2 * 8 * 8 * 3 / 1e9
SOME = np.array([4, 0, 3])


@pytest.mark.parametrize("pairs_in_memory", [0, 2, 6])
def test_pixels_do_not_depend_on_the_memory(random_source, pairs_in_memory: int) -> None:
    settings = DataSettings(memory_gb=PAIR_GB * (pairs_in_memory + 0.5))
    store = open_store(random_source, settings)
    read_at_start = random_source.readings
    np.testing.assert_array_equal(store.read(SOME), random_source.pairs[SOME])
    assert read_at_start == 6
    assert random_source.readings - read_at_start == (SOME >= pairs_in_memory).sum()


def test_a_cache_is_written_once_and_then_shared(random_source, tmp_path: Path) -> None:
    settings = DataSettings(cache=tmp_path / "Zwischen lager", memory_gb=0)
    first = open_store(random_source, settings).read(SOME)
    written = random_source.readings
    second = open_store(random_source, settings).read(SOME)
    np.testing.assert_array_equal(first, random_source.pairs[SOME])
    np.testing.assert_array_equal(second, first)
    # The second run reads one tile, to see whether the pixels are still those of the cache.
    assert random_source.readings == written + 1
    assert len(list(settings.cache.iterdir())) == 1


def test_other_pixels_make_another_cache(random_source, tmp_path: Path) -> None:
    settings = DataSettings(cache=tmp_path)
    open_store(random_source, settings)
    random_source.pairs = 255 - random_source.pairs
    store = open_store(random_source, settings)
    np.testing.assert_array_equal(store.read(SOME), random_source.pairs[SOME])


def test_an_unreadable_tile_leaves_no_half_cache(random_source, tmp_path: Path) -> None:
    def read(index: int) -> np.ndarray:
        if index == 4:
            raise DataError("tile 4 cannot be decoded")
        return random_source.pairs[index]

    random_source.read = read
    with pytest.raises(DataError, match="tile 4"):
        open_store(random_source, DataSettings(cache=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_cache_where_a_file_is_in_the_way_is_refused(random_source, tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("in the way", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be kept in"):
        open_store(random_source, DataSettings(cache=blocked))


def test_rendered_tiles_are_not_rendered_over_and_over(random_source) -> None:
    random_source.renders = True
    with pytest.raises(DataError, match=r"need 0\.0 GB .*--cache"):
        open_store(random_source, DataSettings(memory_gb=PAIR_GB))
    assert random_source.readings == 0


def test_processes_render_the_same_pixels_as_this_one() -> None:
    pytest.importorskip("lightning", reason="needs the extra `train`")
    from napari_hmkd.training.procedural import ProceduralSource

    settings = CohortSettings(patients=1, tiles_per_patient=16, tile_px=256, mpp=0.5)
    source = ProceduralSource(settings, Labels.TILE)
    pairs = open_store(source, DataSettings()).read(np.array([0, 15]))
    np.testing.assert_array_equal(pairs, [source.read(0), source.read(15)])
