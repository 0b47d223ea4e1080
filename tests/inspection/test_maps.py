"""Maps of many tiles, and what is kept of those looked at."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hmkd.grading import OpenModel
from napari_hmkd.inspection.cache import InspectionCache
from napari_hmkd.inspection.maps import ALONE, MapKind, Mosaic, kinds_of, look_of, tokens_of
from napari_hmkd.inspection.slide import InspectedTile
from napari_hmkd.inspection.tile import LEVELS, TileInspection, inspect_tile

RNG = np.random.default_rng(0)
HE, IHC = RNG.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def inspection(student: OpenModel, teacher: OpenModel) -> TileInspection:
    return inspect_tile(student, HE, teacher, IHC)


@pytest.mark.parametrize("kind", MapKind)
@pytest.mark.parametrize("level", LEVELS)
def test_every_kind_has_a_number_for_every_token(
    inspection: TileInspection, kind: MapKind, level: int
) -> None:
    tokens = tokens_of(inspection, kind, level)
    assert tokens.shape == ((8, 4, 2)[level],) * 2
    assert np.isfinite(tokens).all()
    low, high = look_of(kind, len(tokens)).limits
    assert (low < 0) == (kind is MapKind.DIFFERENCE)
    assert low < float(np.median(tokens)) < high


def test_without_the_teacher_there_are_the_students_maps(
    student: OpenModel, inspection: TileInspection
) -> None:
    alone = inspect_tile(student, HE)
    assert kinds_of(alone) == ALONE
    assert kinds_of(inspection) == tuple(MapKind)
    for kind in set(MapKind) - set(ALONE):
        with pytest.raises(KeyError):
            tokens_of(alone, kind, 0)


def test_tiles_of_a_mosaic_lie_where_they_lie_on_the_slide() -> None:
    mosaic = Mosaic(first=(3, 5), shape=(2, 3), side=4)
    assert np.isnan(mosaic.data).all()
    mosaic.put((4, 6), np.arange(16).reshape(4, 4))
    assert mosaic.data[4:, 4:8].tolist() == np.arange(16).reshape(4, 4).tolist()
    assert np.isnan(mosaic.data).sum() == mosaic.data.size - 16


@pytest.mark.parametrize("outside", [(2, 5), (5, 5), (3, 4), (3, 8)])
def test_a_tile_outside_a_mosaic_is_left(outside: tuple[int, int]) -> None:
    mosaic = Mosaic(first=(3, 5), shape=(2, 3), side=2)
    mosaic.put(outside, np.zeros((2, 2)))
    assert np.isnan(mosaic.data).all()


def test_the_cache_keeps_what_was_used_last_within_its_bound(inspection: TileInspection) -> None:
    cache = InspectionCache(most_bytes=2 * inspection.nbytes)
    a, b, c = (InspectedTile((0, column), inspection) for column in range(3))
    cache.put("a", a)
    cache.put("b", b)
    assert cache.find("a") is a
    cache.put("c", c)
    assert cache.nbytes == cache.most_bytes
    assert [cache.find(key) for key in "abc"] == [a, None, c]


def test_one_inspection_is_kept_however_large(inspection: TileInspection) -> None:
    cache = InspectionCache(most_bytes=1)
    first, second = (InspectedTile((0, column), inspection) for column in range(2))
    cache.put("a", first)
    cache.put("b", second)
    assert (cache.find("a"), cache.find("b")) == (None, second)
