"""Bags of different sizes side by side in one tensor: no padding, and no loop over bags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hmkd.device import copied_to


@dataclass(frozen=True, eq=False)
class PackedBags:
    """The patches of b bags, bag after bag.

    Attributes
    ----------
    features : torch.Tensor
        (sum n, d), floating point: the patches of the first bag, then those of the second, ...
    offsets : torch.Tensor
        int64 (b + 1,), on the same device: bag i is ``features[offsets[i]:offsets[i + 1]]``. None
        is empty.
    """

    features: torch.Tensor
    offsets: torch.Tensor

    def __len__(self) -> int:
        """How many bags there are."""
        return len(self.offsets) - 1

    @property
    def sizes(self) -> torch.Tensor:
        """int64 (b,), patches of each bag."""
        return self.offsets.diff()

    @cached_property
    def case(self) -> torch.Tensor:
        """int64 (sum n,), which bag each patch belongs to."""
        cases = torch.arange(len(self), device=self.offsets.device)
        # The known length spares a GPU from telling it.
        return cases.repeat_interleave(self.sizes, output_size=len(self.features))

    @cached_property
    def membership(self) -> torch.Tensor:
        """bool (b, sum n), whether a patch belongs to a bag."""
        return self.case == torch.arange(len(self), device=self.offsets.device)[:, None]

    def features_of(self, dim: int) -> torch.Tensor:
        """The features for a network that takes `dim` of them for each patch.

        Raises
        ------
        ValueError
            If there are more or fewer.
        """
        if self.features.shape[1] != dim:
            raise ValueError(
                f"the network takes features of dimension {dim}, got {self.features.shape[1]}"
            )
        return self.features

    def to(self, device: torch.device | str) -> PackedBags:
        """The same bags on a device, as `copied_to` brings them there."""
        return PackedBags(copied_to(device, self.features), copied_to(device, self.offsets))


def pack(bags: Sequence[torch.Tensor | NDArray[np.floating]]) -> PackedBags:
    """Put bags into one tensor.

    Parameters
    ----------
    bags : sequence of torch.Tensor or numpy.ndarray
        Features (n, d) of each bag, one d for all. They are copied once; a single bag is not.

    Raises
    ------
    ValueError
        If there is no bag, one has no patch, or their shapes do not fit.
    """
    tensors = [torch.as_tensor(bag) for bag in bags]
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len({shape[1:] for shape in shapes}) != 1 or any(len(s) != 2 or not s[0] for s in shapes):
        raise ValueError(f"bags to pack must be (n, d) with n > 0 and one d, got {shapes}")
    sizes = torch.tensor([0, *(shape[0] for shape in shapes)])
    features = tensors[0] if len(tensors) == 1 else torch.cat(tensors)
    return PackedBags(features, sizes.cumsum(0))


# Sums within bags are products with the (b, sum n) matrix of memberships. Among some tens of bags
# that is faster than adding by index, forward and backward; it needs no copy of the values, and on
# a GPU it adds in the same order each time.


def softmax_within(scores: torch.Tensor, bags: PackedBags) -> torch.Tensor:
    """Softmax over the patches of each bag.

    Parameters
    ----------
    scores : torch.Tensor
        (sum n,), any floating point type.

    Returns
    -------
    torch.Tensor
        (sum n,), sums to 1 within each bag; at least float32.
    """
    masked = scores.where(bags.membership, -torch.inf)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    return masked.softmax(dim=1, dtype=dtype).sum(dim=0)


def sum_within(
    values: torch.Tensor, bags: PackedBags, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Sum over the patches of each bag.

    Parameters
    ----------
    values : torch.Tensor
        (sum n, d), finite.
    weights : torch.Tensor, optional
        (sum n,), a factor for each patch.

    Returns
    -------
    torch.Tensor
        (b, d).
    """
    # Under autocast the weights keep float32 where the values do not.
    own = bags.membership if weights is None else bags.membership * weights
    return own.to(values.dtype) @ values


def mean_within(values: torch.Tensor, bags: PackedBags) -> torch.Tensor:
    """Mean over the patches of each bag, (sum n, d) -> (b, d)."""
    return sum_within(values, bags) / bags.sizes[:, None]
