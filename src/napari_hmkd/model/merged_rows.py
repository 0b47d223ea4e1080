"""The last convolution of attention, of a block's rows: there, and back with gradients."""

from __future__ import annotations

import torch

from napari_hmkd.model.planes import MAPS
from napari_hmkd.model.row_blocks import columns, convolve


class MergedRows:
    """Memory and weights of a block, which serves one after the other.

    Parameters
    ----------
    rows : int
        Of a block of weighed scores; A has one more of them on each side.
    key : torch.Tensor
        (B, 4, C, N), of whose shape and kind the block is.
    merge : torch.Tensor
        (1, 4, 3, 3).
    """

    def __init__(self, rows: int, key: torch.Tensor, merge: torch.Tensor) -> None:
        self._tokens = tokens = key.shape[3]
        self._weighed = key.new_zeros(1, rows + 4, MAPS, tokens + 2)
        self._attention = key.new_zeros(1, rows + 2, 1, tokens + 2)
        self._merged = key.new_empty(rows + 2, 1, tokens)
        self._merge = columns(merge, self._weighed)
        self._unmerge = columns(merge.transpose(0, 1).flip(2, 3), self._attention)
        self._nothing = key.new_zeros(1)

    def merge(self, weighed: torch.Tensor, first: int, attention: torch.Tensor) -> None:
        """Add to A (N, N) of a tile what the weighed scores (rows, 4, N) from row `first` on give."""
        held, stop = self._weighed[0], 2 + len(weighed)
        held[2:stop, :, 1:-1] = weighed
        held[stop:] = 0
        convolve(self._merge, self._nothing.expand_as(self._merged), self._merged)
        block, plane = self._rows(first)
        attention[plane] += self._merged[block, 0]

    def unmerge(
        self, grad: torch.Tensor, weighed: torch.Tensor, first: int,
        of_weighed: torch.Tensor, of_merge: torch.Tensor,
    ) -> None:  # fmt: skip
        """From the gradient of A (N, N) to that of a block's weighed scores, and of the weights.

        Parameters
        ----------
        grad, weighed : torch.Tensor
            (N, N) of a tile and (rows, 4, N) from row `first` on.
        first : int
            The block's first row.
        of_weighed : torch.Tensor
            Where all of a block's rows (rows of the block, 4, N) are written to.
        of_merge : torch.Tensor
            Gradient of the weights, to which this block's is added.
        """
        held, (block, plane) = self._attention[0], self._rows(first)
        held[: block.start] = 0
        held[block, 0, 1:-1] = grad[plane]
        held[block.stop :] = 0
        convolve(self._unmerge, self._nothing.expand_as(of_weighed), of_weighed)
        for column, (_, near) in enumerate(self._unmerge):
            # (rows, 4, N) by (rows, 3, N): which map by which row of A, the kernel's upside down
            part = torch.bmm(weighed, near[: len(weighed)].transpose(1, 2)).sum(dim=0)
            of_merge[0, :, :, 2 - column] += part.flip(1)

    def _rows(self, first: int) -> tuple[slice, slice]:
        """Which rows of a block of A the plane has, and which rows of the plane they are."""
        before = first - 1
        start, stop = max(0, before), min(before + len(self._merged), self._tokens)
        return slice(start - before, stop - before), slice(start, stop)
