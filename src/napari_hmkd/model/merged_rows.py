"""The last convolution of attention, of some rows: there, and back with gradients."""

from __future__ import annotations

import torch

from napari_hmkd.model.planes import MAPS
from napari_hmkd.model.row_blocks import columns, convolve, zero_rows
from napari_hmkd.model.score_rows import first_rows


class MergedRows:
    """Memory and weights of a block, which serves one after the other.

    Parameters
    ----------
    rows : int
        At most so many rows of weighed scores; A has one more of them on each side.
    key : torch.Tensor
        (B, 4, C, N), of whose shape and kind the block is.
    merge : torch.Tensor
        (1, 4, 3, 3).
    """

    def __init__(self, rows: int, key: torch.Tensor, merge: torch.Tensor) -> None:
        tokens = key.shape[3]
        self._weighed = zero_rows(key, 1, rows + 4, MAPS, tokens + 2)
        self._attention = zero_rows(key, 1, rows + 2, 1, tokens + 2)
        self._merged = key.new_empty(rows + 2, 1, tokens)
        self._merge = columns(merge, self._weighed)
        self._unmerge = columns(merge.transpose(0, 1).flip(2, 3), self._attention)

    def merge(self, weighed: torch.Tensor) -> torch.Tensor:
        """What weighed scores (rows, 4, N) give to A from the row before them to the one after.

        Returns
        -------
        torch.Tensor
            (rows + 2, N), overwritten by the next call. Rows whose neighbours are all among the
            weighed ones are A's.
        """
        held, rows = self._weighed[0], len(weighed) + 2
        held[2:rows, :, 1:-1] = weighed
        held[rows : rows + 2] = 0
        merged = self._merged[:rows]
        convolve(first_rows(self._merge, rows), merged)
        return merged[:, 0]

    def unmerge(
        self, grad: torch.Tensor, before: int, weighed: torch.Tensor,
        of_weighed: torch.Tensor, of_merge: torch.Tensor,
    ) -> None:  # fmt: skip
        """From the gradient of A to that of a block's weighed scores, and of the weights.

        Parameters
        ----------
        grad : torch.Tensor
            (n, N), of the rows of A that the plane has from the one before the block to the one
            after.
        before : int
            1 where the plane has no row before the block, 0 elsewhere.
        weighed : torch.Tensor
            (rows, 4, N), the block's.
        of_weighed : torch.Tensor
            Where their gradient (at least rows, 4, N) is written to.
        of_merge : torch.Tensor
            Gradient of the weights, to which this block's is added.
        """
        held, rows, stop = self._attention[0], len(weighed), before + len(grad)
        held[:before] = 0
        held[before:stop, 0, 1:-1] = grad
        held[stop : rows + 2] = 0
        of_weighed = of_weighed[:rows]
        convolve(first_rows(self._unmerge, rows), of_weighed)
        for column, (_, near) in enumerate(self._unmerge):
            # (rows, 4, N) by (rows, 3, N): which map by which row of A, the kernel's upside down
            part = torch.bmm(weighed, near[:rows].transpose(1, 2)).sum(dim=0)
            of_merge[0, :, :, 2 - column] += part.flip(1)
