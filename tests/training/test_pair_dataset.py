"""Batches: right tiles, right grades, one order and one augmentation per seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import AugmentSettings, DataSettings
from napari_hmkd.training.data import Batch, TileData
from napari_hmkd.training.splits import Split
from napari_hmkd.training.store import open_store

NONE = np.array([], dtype=np.intp)
SPLIT = Split(np.array([0, 2, 3, 4, 5]), np.array([1]), NONE, NONE, "for the test")
PLAIN = AugmentSettings(flips=False, turns=False, stain_jitter=0)


def tile_data(source, augment: AugmentSettings = PLAIN, batch_size: int = 2, seed: int = 0):
    store = open_store(source, DataSettings())
    return TileData(source.tiles, store, SPLIT, augment, batch_size=batch_size, seed=seed)


def epoch(data: TileData, number: int) -> list[Batch]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


def test_an_epoch_has_each_training_tile_at_most_once_with_its_own_grade(random_source) -> None:
    batches = epoch(tile_data(random_source), 0)
    assert [len(batch.grade) for batch in batches] == [2, 2]  # the fifth tile is dropped
    seen = []
    for batch in batches:
        assert batch.he.dtype == torch.uint8
        for he, ihc, grade in zip(*batch, strict=True):
            index = next(i for i, p in enumerate(random_source.pairs) if (p[0] == he.numpy()).all())
            np.testing.assert_array_equal(ihc.numpy(), random_source.pairs[index, 1])
            assert random_source.tiles[index].grade == grade
            seen.append(index)
    assert len(set(seen)) == 4
    assert set(seen) <= set(SPLIT.train)


def test_seed_and_epoch_decide_order_and_augmentation(random_source) -> None:
    def pixels(seed: int, number: int) -> bytes:
        data = tile_data(random_source, AugmentSettings(), seed=seed)
        return b"".join(batch.he.numpy().tobytes() for batch in epoch(data, number))

    assert pixels(0, 3) == pixels(0, 3)
    assert len({pixels(0, 3), pixels(0, 4), pixels(1, 3)}) == 3


def test_augmentation_of_a_tile_does_not_depend_on_its_batch(random_source) -> None:
    data = tile_data(random_source, AugmentSettings())
    together = data.train_set.__getitems__([0, 1, 2])
    alone = data.train_set[2]
    assert torch.equal(together.he[2], alone.he[0])


def test_validation_tiles_are_not_changed(random_source) -> None:
    (batch,) = tile_data(random_source, AugmentSettings()).val_dataloader()
    np.testing.assert_array_equal(batch.he.numpy(), random_source.pairs[[1], 0])
    assert batch.grade.tolist() == [1]


def test_batches_of_one_are_refused(random_source) -> None:
    with pytest.raises(DataError, match="at least two tiles in a batch"):
        tile_data(random_source, batch_size=1)
