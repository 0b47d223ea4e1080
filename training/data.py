"""Batches of registered pairs for Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

import lightning
import numpy as np
import torch
from torch.utils.data import BatchSampler, Dataset, Sampler, SequentialSampler

from napari_hmkd.device import copied_to
from napari_hmkd.errors import DataError
from napari_hmkd.training.config import AugmentSettings
from napari_hmkd.training.parallel import in_order, side_by_side
from napari_hmkd.training.splits import Indices, Split
from napari_hmkd.training.store import PairStore
from napari_hmkd.training.tiles import Tile
from napari_hmkd.training.transforms import draw_change, jitter_stains

NO_GRADE = -1
BATCHES_AHEAD = 2


class Batch(NamedTuple):
    """Registered pairs.

    Attributes
    ----------
    he, ihc : (B, side, side, 3) uint8
    grade : (B,) int64
        -1 where the pair has no label.
    stains : (B, 2, 3, 2) float32, optional
        Change of colour of H&E and IHC that is still to be made, see `jitter_stains`.
    """

    he: torch.Tensor
    ihc: torch.Tensor
    grade: torch.Tensor
    stains: torch.Tensor | None = None

    @property
    def size(self) -> int:
        """Number of pairs."""
        return len(self.grade)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device, as `copied_to` brings it there."""
        return self._each(partial(copied_to, device))

    def coloured(self) -> Batch:
        """The batch with its change of colour made."""
        if self.stains is None:
            return self
        he, ihc = (
            jitter_stains(tiles, stains)
            for tiles, stains in zip((self.he, self.ihc), self.stains.unbind(1), strict=True)
        )
        return Batch(he, ihc, self.grade)

    def pinned(self) -> Batch:
        """The batch in memory that CUDA copies from by itself; unchanged where this process uses none."""
        return self._each(torch.Tensor.pin_memory) if torch.cuda.is_initialized() else self

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        stains = None if self.stains is None else change(self.stains)
        return Batch(change(self.he), change(self.ihc), change(self.grade), stains)


class PairDataset(Dataset[Batch]):
    """Some tiles of a store; it gives whole batches, which spares copying tile by tile.

    With settings of augmentation, the draws for a tile depend on seed, epoch and tile alone, so
    that order, batch size, processes and resumption do not change them.
    """

    def __init__(
        self,
        store: PairStore,
        tiles: Sequence[Tile],
        indices: Indices,
        augment: AugmentSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.indices = indices
        self.epoch = 0
        self._store, self._augment, self._seed = store, augment, seed
        grades = (tiles[i].grade for i in indices)
        self.grades = np.array([NO_GRADE if g is None else g for g in grades], np.int64)
        """(n,) grades in the order of `indices`, -1 where there is none."""

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.indices)

    def __getitem__(self, position: int) -> Batch:
        """A batch of one."""
        return self.__getitems__([position])

    def __getitems__(self, positions: list[int]) -> Batch:
        """The batch of the tiles at these positions in the epoch that is set."""
        return self.load(self.epoch, positions)

    def load(self, epoch: int, positions: list[int]) -> Batch:
        """The batch of the tiles at these positions in an epoch, pinned where CUDA is used."""
        chosen = self.indices[positions]
        pairs = self._store.read(chosen)
        stains_first = np.empty_like(pairs.swapaxes(0, 1), order="C")
        stains = None
        if self._augment is None:
            stains_first[:] = pairs.swapaxes(0, 1)
        else:
            rngs = (np.random.default_rng((self._seed, epoch, tile)) for tile in chosen.tolist())
            changes = [draw_change(self._augment, rng) for rng in rngs]
            side_by_side(
                lambda k: changes[k].move(pairs[k], stains_first[:, k]), range(len(changes))
            )
            if self._augment.stain_jitter:
                stains = torch.from_numpy(np.stack([change.stains for change in changes]))
        he, ihc = torch.from_numpy(stains_first)
        return Batch(he, ihc, torch.from_numpy(self.grades[positions]), stains).pinned()


class EpochSampler(Sampler[int]):
    """A new order for each epoch; Lightning calls `set_epoch`, which also turns the dataset's.

    Of one order for all, rank r takes the positions r, r + ranks, ..., as many as each other rank.
    """

    def __init__(self, dataset: PairDataset, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self._dataset, self._seed = dataset, seed
        self._rank, self._ranks = rank, ranks

    def set_epoch(self, epoch: int) -> None:
        """Choose order and augmentation of this epoch."""
        self._dataset.epoch = epoch

    def __len__(self) -> int:
        """Number of tiles of this rank."""
        return len(self._dataset) // self._ranks

    def __iter__(self) -> Iterator[int]:
        """This epoch's order."""
        rng = np.random.default_rng((self._seed, self._dataset.epoch))
        order = rng.permutation(len(self._dataset))[self._rank :: self._ranks]
        return iter(order[: len(self)].tolist())


Prepared = TypeVar("Prepared")
PreparedOnly = TypeVar("PreparedOnly", covariant=True)


class EpochDataset(Protocol[PreparedOnly]):
    """Gives whole batches of an epoch; where CUDA is used, in memory that it copies from by itself."""

    epoch: int

    def __len__(self) -> int:
        """Number of items."""
        ...

    def load(self, epoch: int, positions: list[int]) -> PreparedOnly:
        """The batch of the items at these positions in an epoch."""
        ...


class BatchLoader(Generic[Prepared]):
    """Batches that a thread prepares while the consumer computes, `BATCHES_AHEAD` at most.

    A thread and no process: pairs in memory would have to be copied into each process. Epoch and
    order are those of the moment at which the first batch is asked for, because Lightning asks for
    an iterator before it sets the epoch. The samplers are where Lightning looks for `set_epoch`.
    """

    def __init__(
        self,
        dataset: EpochDataset[Prepared],
        batch_size: int,
        sampler: Sampler[int] | None = None,
        drop_last: bool = False,
    ) -> None:
        self.dataset = dataset
        self.sampler = SequentialSampler(dataset) if sampler is None else sampler
        self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Prepared]:
        """The batches in the sampler's order; closing the iterator ends its thread."""
        load, plan = partial(self.dataset.load, self.dataset.epoch), list(self.batch_sampler)
        yield from in_order(ThreadPoolExecutor(1, "batches"), load, plan, BATCHES_AHEAD)


def batch_of_process(training_tiles: int, batch_size: int, ranks: int) -> int:
    """Tiles in a batch of one of `ranks` processes: as asked for, or as many as there are.

    Raises
    ------
    DataError
        If there are too few for batch normalisation.
    """
    size = min(batch_size, training_tiles // ranks)
    if size < 2:
        raise DataError(
            f"{training_tiles} training tiles for {ranks} process(es) in batches of {batch_size}: "
            "batch normalisation needs at least two tiles in a batch. Give more tiles, or a larger "
            "--batch-size"
        )
    return size


class TileData(lightning.LightningDataModule):
    """Training and validation tiles.

    Parameters
    ----------
    batch_size : int
        Tiles in a batch of one process.
    rank, ranks : int
        Which of how many processes this is: they share each epoch's training tiles. Every process
        validates on all validation tiles, so that all of them pick the same checkpoint.

    Raises
    ------
    DataError
        As `batch_of_process`.
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
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__()
        self.tiles, self.store, self.split, self.seed = tiles, store, split, seed
        self.rank, self.ranks = rank, ranks
        self.batch_size = batch_of_process(len(split.train), batch_size, ranks)
        self.train_set = PairDataset(store, tiles, split.train, augment, seed)

    def part(self, indices: Indices) -> PairDataset:
        """The tiles of one part of the split, unchanged."""
        return PairDataset(self.store, self.tiles, indices)

    def train_dataloader(self) -> BatchLoader[Batch]:
        """This process's share, shuffled; the incomplete last batch is dropped."""
        sampler = EpochSampler(self.train_set, self.seed, self.rank, self.ranks)
        return BatchLoader(self.train_set, self.batch_size, sampler, drop_last=True)

    def val_dataloader(self) -> BatchLoader[Batch]:
        """The validation part in order."""
        return BatchLoader(self.part(self.split.validation), self.batch_size)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Change the colours on the device (Lightning's hook)."""
        return batch.coloured()
