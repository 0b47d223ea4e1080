"""A block of rows between queries, keys and weighed scores: there, and back with gradients."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from napari_hmkd.model.planes import MAPS, SCORE_LIMIT
from napari_hmkd.model.row_blocks import LEAST_ROWS, columns, convolve

BLOCK_ELEMENTS = 2**17
"""Of each of a block's planes, of which training has six; twice of it took 15 % more."""


class ScoreRows:
    """Memory and weights of a block, which serves one after the other.

    Rows follow each other, and in a row its four maps, as in evaluation's blocks. A block of scores
    has a row and a column more on each side, which the convolution needs.

    Parameters
    ----------
    key : torch.Tensor
        (B, 4, C, N), of whose shape and kind the block is.
    weight, bias : torch.Tensor
        (4, 4, 3, 3) and (4,), the mixing convolution with its norm.
    gradients : bool
        Whether there is a way back.
    """

    def __init__(
        self, key: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, gradients: bool = False
    ) -> None:
        self.tokens = tokens = key.shape[3]
        self.rows = min(tokens, max(LEAST_ROWS, BLOCK_ELEMENTS // (MAPS * tokens)))
        self._scores = key.new_zeros(1, self.rows + 2, MAPS, tokens + 2)
        self._mixed, self._soft, self._weighed = key.new_empty(3, self.rows, MAPS, tokens)
        self._mix = columns(weight, self._scores)
        self._bias = bias[:, None].expand_as(self._mixed)
        if not gradients:
            return
        self.of_weighed = torch.empty_like(self._mixed)
        self._of_mixed = key.new_zeros(1, self.rows + 4, MAPS, tokens + 2)
        self._of_scores = key.new_empty(self.rows + 2, MAPS, tokens)
        self._unmix = columns(weight.transpose(0, 1).flip(2, 3), self._of_mixed)
        self._nothing = key.new_zeros(1).expand_as(self._of_scores)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First row of each block, and the one after its last."""
        for first in range(0, self.tokens, self.rows):
            yield first, min(first + self.rows, self.tokens)

    def weigh(self, q: torch.Tensor, k: torch.Tensor, first: int, stop: int) -> torch.Tensor:
        """Z softmax(Z) of the rows of a block, (rows, 4, N), overwritten by the next call.

        Parameters
        ----------
        q, k : torch.Tensor
            (4, N, C) and (4, C, N) of a tile.
        first, stop : int
            Which rows.
        """
        inside = self._inside(first)
        scores = self._scores[0, inside.start : inside.stop, :, 1:-1].transpose(0, 1)
        torch.bmm(q[:, first - 1 + inside.start : first - 1 + inside.stop], k, out=scores)
        self._scores[0, : inside.start] = 0
        self._scores[0, inside.stop :] = 0
        convolve(self._mix, self._bias, self._mixed)
        torch.clamp(self._mixed, -SCORE_LIMIT, SCORE_LIMIT, out=self._weighed)
        torch.softmax(self._weighed, dim=-1, out=self._soft)
        self._weighed.mul_(self._soft)
        return self._weighed[: stop - first]

    def unweigh(self, rows: int, of_weight: torch.Tensor, of_bias: torch.Tensor) -> None:
        """From the gradient of what `weigh` gave, in `of_weighed`, to that of its mixed scores.

        Parameters
        ----------
        rows : int
            How many of them the last block had.
        of_weight, of_bias : torch.Tensor
            Gradients of the mixing convolution, to which this block's are added.
        """
        of, mixed, soft = self.of_weighed[:rows], self._mixed[:rows], self._soft[:rows]
        # of (Z softmax Z): softmax (g (1 + Z) - sum of g Z softmax), where Z is not limited
        total = torch.linalg.vecdot(of, self._weighed[:rows])[..., None]
        inner = self._of_mixed[0, 2 : 2 + rows, :, 1:-1]
        torch.addcmul(of, of, mixed, out=inner)
        inner.sub_(total).mul_(soft)
        limited = mixed.abs() > SCORE_LIMIT
        inner.masked_fill_(limited, 0)
        self._of_mixed[0, 2 + rows :] = 0
        of_bias += inner.sum(dim=(0, 2))
        for column, (_, near) in enumerate(self._mix):
            # (rows, 4, N) by (rows, 3 * 4, N): which output by which row and map
            part = torch.bmm(inner, near[:rows].transpose(1, 2)).sum(dim=0)
            of_weight[..., column] += part.unflatten(1, (3, MAPS)).transpose(1, 2)

    def unscore(
        self, q: torch.Tensor, k: torch.Tensor, first: int, of_q: torch.Tensor, of_k: torch.Tensor
    ) -> None:
        """From the gradient of the last block's mixed scores to those of queries and keys.

        Parameters
        ----------
        q, k, of_q, of_k : torch.Tensor
            (4, N, C) and (4, C, N) of a tile, and their gradients, to which this block's are added.
        first : int
            The block's first row.
        """
        convolve(self._unmix, self._nothing, self._of_scores)
        inside = self._inside(first)
        of = self._of_scores[inside].transpose(0, 1)  # (4, rows, N)
        near = slice(first - 1 + inside.start, first - 1 + inside.stop)
        of_q[:, near].baddbmm_(of, k.transpose(1, 2))
        of_k.baddbmm_(q[:, near].transpose(1, 2), of)

    def _inside(self, first: int) -> slice:
        """Which rows of a block of scores the plane has."""
        return slice(max(0, 1 - first), min(self.rows + 2, self.tokens + 1 - first))
