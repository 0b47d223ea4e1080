"""Batches: right tiles, right grades, one order and one augmentation per seed and epoch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import AugmentSettings, StoredDataSettings
from napari_hmkd.training.data import BATCHES_AHEAD, Batch, BatchLoader, PairDataset, TileData
from napari_hmkd.training.splits import Split
from napari_hmkd.training.store import open_store
from napari_hmkd.training.transforms import jitter_stains

NONE = np.array([], dtype=np.intp)
SPLIT = Split(np.array([0, 2, 3, 4, 5]), np.array([1]), NONE, NONE, "for the test")
PLAIN = AugmentSettings(flips=False, turns=False, shift_px=0, stain_jitter=0)


def tile_data(source, augment: AugmentSettings = PLAIN, batch_size: int = 2, **how) -> TileData:
    store = open_store(source, StoredDataSettings())
    how = {"seed": 0} | how
    return TileData(source.tiles, store, SPLIT, augment, batch_size=batch_size, **how)


def epoch(data: TileData, number: int) -> list[Batch]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


@pytest.mark.parametrize("used", [True, False])
def test_a_batch_is_pinned_only_where_the_process_uses_cuda(
    used: bool, random_source, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda part: pinned.append(part) or part)
    batch = tile_data(random_source).train_set.load(0, [0])
    assert [part.shape for part in pinned] == [part.shape for part in batch[:3]] * used


def which(source, batch: Batch) -> list[int]:
    """The indices of unchanged tiles in their source."""
    return [
        next(i for i, pair in enumerate(source.pairs) if (pair[0] == he.numpy()).all())
        for he in batch.he
    ]


def test_an_epoch_has_each_training_tile_at_most_once_with_its_own_grade(random_source) -> None:
    batches = epoch(tile_data(random_source), 0)
    assert [len(batch.grade) for batch in batches] == [2, 2]  # the fifth tile is dropped
    seen = []
    for batch in batches:
        assert batch.he.dtype == batch.ihc.dtype == torch.uint8
        assert batch.stains is None
        found = which(random_source, batch)
        np.testing.assert_array_equal(batch.ihc.numpy(), random_source.pairs[found, 1])
        assert batch.grade.tolist() == [random_source.tiles[i].grade for i in found]
        seen += found
    assert len(set(seen)) == 4
    assert set(seen) <= set(SPLIT.train)


def test_tiles_without_a_grade_are_marked(random_source) -> None:
    tiles = [replace(tile, grade=None) for tile in random_source.tiles[:2]]
    dataset = PairDataset(open_store(random_source, StoredDataSettings()), tiles, np.array([1, 0]))
    assert dataset.grades.tolist() == [-1, -1]
    assert dataset[0].grade.tolist() == [-1]


def test_seed_and_epoch_decide_order_and_augmentation(random_source) -> None:
    def pixels(seed: int, number: int) -> bytes:
        data = tile_data(random_source, AugmentSettings(), seed=seed)
        parts = [part for batch in epoch(data, number) for part in (batch.he, batch.stains)]
        return b"".join(part.numpy().tobytes() for part in parts)

    assert pixels(0, 3) == pixels(0, 3)
    assert len({pixels(0, 3), pixels(0, 4), pixels(1, 3)}) == 3


def test_augmentation_of_a_tile_does_not_depend_on_its_batch(random_source) -> None:
    data = tile_data(random_source, AugmentSettings())
    together = data.train_set.load(3, [0, 1, 2])
    alone = data.train_set.load(3, [2])
    assert torch.equal(together.he[2], alone.he[0])
    assert torch.equal(together.stains[2], alone.stains[0])


def test_colours_change_after_the_batch_has_come_to_the_device(random_source) -> None:
    data = tile_data(random_source, replace(PLAIN, stain_jitter=0.2))
    (batch, _) = epoch(data, 0)
    found = which(random_source, batch)  # loading leaves the pixels alone
    coloured = data.on_after_batch_transfer(batch.to("cpu"), 0)
    assert coloured.stains is None
    for stain, tiles in enumerate((coloured.he, coloured.ihc)):
        before = torch.from_numpy(random_source.pairs[found, stain])
        assert torch.equal(tiles, jitter_stains(before, batch.stains[:, stain]))
        assert not torch.equal(tiles, before)
    assert data.on_after_batch_transfer(coloured, 0) is coloured


def test_validation_tiles_are_not_changed(random_source) -> None:
    data = tile_data(random_source, AugmentSettings())
    (batch,) = data.val_dataloader()
    batch = data.on_after_batch_transfer(batch, 0)
    np.testing.assert_array_equal(batch.he.numpy(), random_source.pairs[[1], 0])
    np.testing.assert_array_equal(batch.ihc.numpy(), random_source.pairs[[1], 1])
    assert batch.grade.tolist() == [1]


@pytest.mark.parametrize(("batch_size", "ranks"), [(1, 1), (2, 3)])
def test_batches_of_one_are_refused(random_source, batch_size: int, ranks: int) -> None:
    with pytest.raises(DataError, match="at least two tiles in a batch"):
        tile_data(random_source, batch_size=batch_size, ranks=ranks)


def test_processes_share_an_epoch_in_equal_parts(random_source) -> None:
    alone = tile_data(random_source, AugmentSettings())
    order = list(alone.train_dataloader().sampler)
    shares = [tile_data(random_source, AugmentSettings(), rank=r, ranks=2) for r in (0, 1)]
    assert [list(share.train_dataloader().sampler) for share in shares] == [
        order[:4:2],
        order[1:4:2],
    ]
    # A tile's augmentation is the same on whichever process it comes up.
    for share, positions in zip(shares, (order[:4:2], order[1:4:2]), strict=True):
        (batch,) = epoch(share, 0)
        wanted = alone.train_set.load(0, positions)
        assert all(torch.equal(a, b) for a, b in zip(batch, wanted, strict=True))


def loader_of(read: Callable, source, batch_size: int = 1) -> BatchLoader:
    """A loader whose store answers with `read`."""
    store = open_store(source, StoredDataSettings())
    keep, store.read = store.read, lambda indices: read(keep, indices)
    return BatchLoader(PairDataset(store, source.tiles, np.arange(6)), batch_size)


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_batches_are_prepared_while_the_consumer_is_busy_but_not_too_many(random_source) -> None:
    asked, enough = [], threading.Event()

    def read(keep: Callable, indices: np.ndarray) -> np.ndarray:
        asked.extend(indices.tolist())
        if len(asked) == 1 + BATCHES_AHEAD:
            enough.set()
        return keep(indices)

    batches = iter(loader_of(read, random_source))
    assert asked == []
    next(batches)
    assert enough.wait(10)
    assert asked == list(range(1 + BATCHES_AHEAD))
    assert len(list(batches)) == 5
    assert asked == list(range(6))


@pytest.mark.parametrize("end", ["exhausted", "last batch", "abandoned", "failed"])
def test_no_thread_is_left_behind(random_source, end: str) -> None:
    def read(keep: Callable, indices: np.ndarray) -> np.ndarray:
        if end == "failed" and 2 in indices:
            raise DataError("tile 2 cannot be decoded")
        return keep(indices)

    batches = iter(loader_of(read, random_source))
    next(batches)
    assert len(workers()) == 1
    if end == "exhausted":
        assert len(list(batches)) == 5
    elif end == "last batch":
        for _ in range(5):
            next(batches)
    elif end == "failed":
        next(batches)
        with pytest.raises(DataError, match="tile 2 cannot be decoded"):
            next(batches)
    else:
        del batches
    assert workers() == []


def test_the_epoch_is_that_of_the_first_batch_and_not_of_a_later_change(random_source) -> None:
    data = tile_data(random_source, AugmentSettings())
    loader = data.train_dataloader()
    batches = iter(loader)
    loader.sampler.set_epoch(5)  # Lightning sets the epoch after it has asked for the iterator
    first = next(batches)
    loader.sampler.set_epoch(6)
    found = [first, *batches]
    for batch, wanted in zip(found, epoch(data, 5), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch, wanted, strict=True))


def test_loading_leaves_the_random_numbers_of_training_alone(random_source) -> None:
    state = torch.get_rng_state()
    epoch(tile_data(random_source, AugmentSettings()), 0)
    assert torch.equal(torch.get_rng_state(), state)
