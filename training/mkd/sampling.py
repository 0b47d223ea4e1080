"""The order of an epoch whose classes are drawn equally often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


class LabelledDataset(Protocol):
    """Cases of known classes, in an epoch."""

    epoch: int
    labels: NDArray[np.int64]


class BalancedSampler(Sampler[int]):
    """As many draws as there are cases, with replacement, each class as likely as the others.

    Case i of class c is drawn with probability 1 / (K n_c), where n_c of all cases are of class c
    and K classes occur: inverse class frequency, as CLAM's `make_weights_for_balanced_classes_split`
    has it (Lu et al. 2021, doi 10.1038/s41551-020-00682-w). The draws depend on seed and epoch
    alone, so that a resumed run goes on with the same. Lightning calls `set_epoch`.

    Parameters
    ----------
    dataset : LabelledDataset
        Its epoch is turned with the sampler's.
    seed : int
    """

    def __init__(self, dataset: LabelledDataset, seed: int) -> None:
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
