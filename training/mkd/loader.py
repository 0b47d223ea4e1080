"""Batches of whole bags, packed, with genes and labels, prepared ahead of the networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from napari_hmkd.bags.packing import PackedBags
from napari_hmkd.device import copied_to
from napari_hmkd.training.data import BatchLoader
from napari_hmkd.training.mkd.bag_store import DEFAULTS, BagStore
from napari_hmkd.training.mkd.cases import Case

Genes = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CaseBatch:
    """Some cases, whole.

    Attributes
    ----------
    bags : PackedBags
        Features (sum n, d) float32; as the loader gives it, float16 where all files hold that.
    genes : (b, tokens, token_genes) float32 or None
    label : (b,) int64
    cases : tuple of str
        Names.
    """

    bags: PackedBags
    genes: torch.Tensor | None
    label: torch.Tensor
    cases: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of cases."""
        return len(self.label)

    def to(self, device: torch.device | str) -> CaseBatch:
        """The batch on a device in float32, made there of float16: half the bytes on the way."""
        bags = self.bags.to(device)
        genes = None if self.genes is None else copied_to(device, self.genes)
        label = copied_to(device, self.label)
        return CaseBatch(PackedBags(bags.features.float(), bags.offsets), genes, label, self.cases)


CaseLoader = BatchLoader[CaseBatch]


class CaseDataset:
    """Some cases, whose bags a store reads into a batch's memory, side by side and once.

    Parameters
    ----------
    cases : sequence of Case
        All cases.
    indices : (n,) int
        Which of them, in which order.
    genes : (cases, tokens, token_genes) float32 or None
        Of all cases.
    store : BagStore
    workers : int
        Threads that read the bags of a batch.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        indices: NDArray[np.integer],
        genes: Genes | None,
        store: BagStore,
        workers: int,
    ) -> None:
        self.epoch = 0
        self._cases = [cases[i] for i in indices]
        self._genes = None if genes is None else genes[indices]
        self._store, self._workers = store, workers
        self.labels = np.array([case.label for case in self._cases], np.int64)
        """(n,) labels in the order of the indices."""

    def __len__(self) -> int:
        """Number of cases."""
        return len(self._cases)

    def load(self, epoch: int, positions: list[int]) -> CaseBatch:
        """The batch of the cases at these positions, the same in every epoch."""
        cases = [self._cases[position] for position in positions]
        genes = None if self._genes is None else torch.from_numpy(self._genes[positions])
        label = torch.from_numpy(self.labels[positions])
        return CaseBatch(self._packed(cases), genes, label, tuple(case.name for case in cases))

    def _packed(self, cases: Sequence[Case]) -> PackedBags:
        files = [path for case in cases for path in case.bags]
        with ThreadPoolExecutor(self._workers, "bags") as pool:
            headers = list(pool.map(self._store.header, files))
            ends = np.cumsum([header.patches for header in headers])
            small = all(header.dtype == np.float16 for header in headers)
            features = torch.empty(
                (int(ends[-1]), headers[0].features),
                dtype=torch.float16 if small else torch.float32,
                pin_memory=torch.cuda.is_initialized(),
            )
            list(pool.map(self._store.read, files, np.split(features.numpy(), ends[:-1])))
        files_before = np.cumsum([0, *(len(case.bags) for case in cases)])
        offsets = np.concatenate(([0], ends))[files_before]
        return PackedBags(features, torch.from_numpy(offsets))


class BalancedSampler(Sampler[int]):
    """As many draws as there are cases, with replacement, each class as likely as the others.

    Case i of class c is drawn with probability 1 / (K n_c), where n_c of all cases are of class c
    and K classes occur: inverse class frequency, as CLAM's `make_weights_for_balanced_classes_split`
    has it (Lu et al. 2021, doi 10.1038/s41551-020-00682-w). The draws depend on seed and epoch
    alone, so that a resumed run goes on with the same. Lightning calls `set_epoch`.

    Parameters
    ----------
    dataset : CaseDataset
        Its epoch is turned with the sampler's.
    seed : int
    """

    def __init__(self, dataset: CaseDataset, seed: int) -> None:
        self._dataset, self._seed = dataset, seed
        _, number, count = np.unique(dataset.labels, return_inverse=True, return_counts=True)
        self._probability = 1 / (len(count) * count[number])

    def set_epoch(self, epoch: int) -> None:
        """Choose this epoch's draws."""
        self._dataset.epoch = epoch

    def __len__(self) -> int:
        """Number of draws."""
        return len(self._probability)

    def __iter__(self) -> Iterator[int]:
        """This epoch's draws."""
        rng = np.random.default_rng((self._seed, self._dataset.epoch))
        return iter(rng.choice(len(self), len(self), p=self._probability).tolist())


def case_loader(
    cases: Sequence[Case],
    indices: NDArray[np.integer],
    genes: Genes | None,
    store: BagStore,
    *,
    batch_size: int = DEFAULTS.batch_size,
    balanced: bool = False,
    seed: int = 0,
    workers: int = DEFAULTS.workers,
) -> CaseLoader:
    """Batches of some cases, which a thread prepares while the networks compute.

    Parameters
    ----------
    cases, indices, genes, workers
        As `CaseDataset` has them.
    store : BagStore
        Shared by loaders of the same bags, so that these are read once.
    batch_size : int
        Cases in a batch; fewer where there are fewer cases.
    balanced : bool
        For training: draw classes equally often, see `BalancedSampler`, and drop the incomplete
        last batch, which may have too few cases for a covariance. Otherwise each case comes once,
        in order.
    seed : int
        Of the draws.
    """
    dataset = CaseDataset(cases, indices, genes, store, workers)
    sampler = BalancedSampler(dataset, seed) if balanced else None
    return BatchLoader(dataset, min(batch_size, len(dataset)), sampler, drop_last=balanced)
