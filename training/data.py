"""Batches of registered pairs for Lightning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import AugmentSettings
from napari_hmkd.training.splits import Indices, Split
from napari_hmkd.training.store import PairStore
from napari_hmkd.training.tiles import Tile
from napari_hmkd.training.transforms import PairTransform


class Batch(NamedTuple):
    """Registered tiles, uint8 (B, side, side, 3) each, and their grades, int64 (B,)."""

    he: torch.Tensor
    ihc: torch.Tensor
    grade: torch.Tensor


class PairDataset(Dataset[Batch]):
    """Some tiles of a store; it gives whole batches, which spares copying tile by tile.

    With a transform, the draws for a tile depend on seed, epoch and tile alone, so that order,
    batch size and resumption do not change them.
    """

    def __init__(
        self,
        store: PairStore,
        tiles: Sequence[Tile],
        indices: Indices,
        transform: PairTransform | None = None,
        seed: int = 0,
    ) -> None:
        self.indices = indices
        self.epoch = 0
        self._store, self._transform, self._seed = store, transform, seed
        self.grades = np.array([tiles[i].grade for i in indices], np.int64)
        """(n,) grades in the order of `indices`."""

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.indices)

    def __getitem__(self, position: int) -> Batch:
        """A batch of one."""
        return self.__getitems__([position])

    def __getitems__(self, positions: list[int]) -> Batch:
        """The batch of the tiles at these positions."""
        chosen = self.indices[positions]
        pairs = self._store.read(chosen)
        if self._transform is not None:
            pairs = np.stack(
                [
                    self._transform(pair, self._draws(i))
                    for pair, i in zip(pairs, chosen, strict=True)
                ]
            )
        he, ihc = (torch.from_numpy(np.ascontiguousarray(pairs[:, stain])) for stain in (0, 1))
        return Batch(he, ihc, torch.from_numpy(self.grades[positions]))

    def _draws(self, tile: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, self.epoch, tile))


class EpochSampler(Sampler[int]):
    """A new order for each epoch; Lightning calls `set_epoch`, which also turns the dataset's."""

    def __init__(self, dataset: PairDataset, seed: int) -> None:
        self._dataset, self._seed = dataset, seed

    def set_epoch(self, epoch: int) -> None:
        """Choose order and augmentation of this epoch."""
        self._dataset.epoch = epoch

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self._dataset)

    def __iter__(self) -> Iterator[int]:
        """This epoch's order."""
        rng = np.random.default_rng((self._seed, self._dataset.epoch))
        return iter(rng.permutation(len(self._dataset)).tolist())


def _whole(batch: Any) -> Any:
    """The dataset gives whole batches: there is nothing left to collate."""
    return batch


def batches(dataset: PairDataset, size: int) -> DataLoader[Batch]:
    """A loader in the dataset's order, each tile once."""
    return DataLoader(dataset, batch_size=size, collate_fn=_whole)


class TileData(lightning.LightningDataModule):
    """Training and validation tiles.

    Raises
    ------
    DataError
        If there are too few training tiles for batch normalisation.
    """

    def __init__(
        self,
        tiles: Sequence[Tile],
        store: PairStore,
        split: Split,
        augment: AugmentSettings,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.tiles, self.store, self.split, self.seed = tiles, store, split, seed
        self.batch_size = min(batch_size, len(split.train))
        if self.batch_size < 2:
            raise DataError(
                f"{len(split.train)} training tiles in batches of {batch_size}: batch "
                "normalisation needs at least two tiles in a batch"
            )
        transform = PairTransform(augment)
        self.train_set = PairDataset(store, tiles, split.train, transform, seed)

    def part(self, indices: Indices) -> PairDataset:
        """The tiles of one part of the split, unchanged."""
        return PairDataset(self.store, self.tiles, indices)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled; the incomplete last batch is dropped."""
        sampler = EpochSampler(self.train_set, self.seed)
        return DataLoader(
            self.train_set, self.batch_size, sampler=sampler, drop_last=True, collate_fn=_whole
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation part in order."""
        return batches(self.part(self.split.validation), self.batch_size)
