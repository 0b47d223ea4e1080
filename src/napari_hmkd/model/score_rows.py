"""A block of rows between queries, keys and weighed scores: there, and back with gradients."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from napari_hmkd.model.planes import MAPS, SCORE_LIMIT
from napari_hmkd.model.precision import widened
from napari_hmkd.model.row_blocks import LEAST_ROWS, columns, convolve, zero_rows

Columns = list[tuple[torch.Tensor, torch.Tensor]]
"""Of a kernel, as `row_blocks.columns` gives them."""

BLOCK_ELEMENTS = 2**17
"""Of each of a block's planes, of which training has six; twice of it took 15 % more."""


def tokens_of(query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What `AttentionPlanes.forward` takes, both as (B, 4, C, N), whose products are the scores."""
    channels = key.shape[1] // MAPS
    k = widened(key).unflatten(1, (MAPS, channels)).flatten(3)
    q = widened(query).unflatten(1, (-1, channels)).flatten(3) * channels**-0.5
    return q.expand_as(k), k


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
    halo : int
        How many rows on each side of a block can be weighed with it.

    Attributes
    ----------
    held : int
        How many rows can be weighed at once.
    of_weighed : torch.Tensor
        (rows, 4, N), where the gradient of a block's weighed scores is to be written to.
    """

    def __init__(
        self, key: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
        gradients: bool = False, halo: int = 0,
    ) -> None:  # fmt: skip
        self.tokens = tokens = key.shape[3]
        self._rows = rows = min(tokens, max(LEAST_ROWS, BLOCK_ELEMENTS // (MAPS * tokens)))
        self.held = held = min(tokens, rows + 2 * halo)
        self._scores = zero_rows(key, 1, held + 2, MAPS, tokens + 2)
        self._mixed, self._soft, self._weighed = key.new_empty(3, held, MAPS, tokens)
        self._mix = columns(weight, self._scores)
        self._bias = bias[:, None].expand_as(self._mixed)
        if not gradients:
            return
        self.of_weighed = key.new_empty(rows, MAPS, tokens)
        self._of_mixed = zero_rows(key, 1, rows + 4, MAPS, tokens + 2)
        self._of_scores = key.new_empty(rows + 2, MAPS, tokens)
        self._unmix = columns(weight.transpose(0, 1).flip(2, 3), self._of_mixed)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First row of each block, and the one after its last."""
        for first in range(0, self.tokens, self._rows):
            yield first, min(first + self._rows, self.tokens)

    def weigh(self, q: torch.Tensor, k: torch.Tensor, first: int, stop: int) -> torch.Tensor:
        """Z softmax(Z) of some rows, (rows, 4, N), overwritten by the next call.

        Parameters
        ----------
        q, k : torch.Tensor
            (4, N, C) and (4, C, N) of a tile.
        first, stop : int
            Which rows, at most as many as are held.
        """
        rows, inside = stop - first, self._inside(first, stop)
        scores = self._scores[0, inside, :, 1:-1].transpose(0, 1)
        torch.bmm(q[:, first - 1 + inside.start : first - 1 + inside.stop], k, out=scores)
        self._scores[0, : inside.start] = 0
        self._scores[0, inside.stop : rows + 2] = 0
        mixed, soft, weighed = (x[:rows] for x in (self._mixed, self._soft, self._weighed))
        convolve(first_rows(self._mix, rows), mixed, self._bias[:rows])
        torch.clamp(mixed, -SCORE_LIMIT, SCORE_LIMIT, out=weighed)
        torch.softmax(weighed, dim=-1, out=soft)
        return weighed.mul_(soft)

    def unweigh(self, own: slice, of_weight: torch.Tensor, of_bias: torch.Tensor) -> None:
        """From the gradient of a block's weighed scores, in `of_weighed`, to that of mixed scores.

        Parameters
        ----------
        own : slice
            Which of the rows that the last call of `weigh` gave are the block's.
        of_weight, of_bias : torch.Tensor
            Gradients of the mixing convolution, to which this block's are added.
        """
        rows = own.stop - own.start
        of, mixed, soft = self.of_weighed[:rows], self._mixed[own], self._soft[own]
        # of (Z softmax Z): softmax (g (1 + Z) - sum of g Z softmax), where Z is not limited
        total = torch.linalg.vecdot(of, self._weighed[own])[..., None]
        inner = self._of_mixed[0, 2 : 2 + rows, :, 1:-1]
        torch.addcmul(of, of, mixed, out=inner)
        inner.sub_(total).mul_(soft)
        limited = mixed.abs() > SCORE_LIMIT
        inner.masked_fill_(limited, 0)
        self._of_mixed[0, 2 + rows :] = 0
        of_bias += inner.sum(dim=(0, 2))
        for column, (_, near) in enumerate(self._mix):
            # (rows, 4, N) by (rows, 3 * 4, N): which output by which row and map
            part = torch.bmm(inner, near[own].transpose(1, 2)).sum(dim=0)
            of_weight[..., column] += part.unflatten(1, (3, MAPS)).transpose(1, 2)

    def unscore(
        self, q: torch.Tensor, k: torch.Tensor, first: int, stop: int,
        of_q: torch.Tensor, of_k: torch.Tensor,
    ) -> None:  # fmt: skip
        """From the gradient of a block's mixed scores to those of queries and keys.

        Parameters
        ----------
        q, k, of_q, of_k : torch.Tensor
            (4, N, C) and (4, C, N) of a tile, and their gradients, to which this block's are added.
        first, stop : int
            The block's rows.
        """
        rows = stop - first + 2
        convolve(first_rows(self._unmix, rows), self._of_scores[:rows])
        inside = self._inside(first, stop)
        of = self._of_scores[inside].transpose(0, 1)  # (4, rows, N)
        near = slice(first - 1 + inside.start, first - 1 + inside.stop)
        of_q[:, near].baddbmm_(of, k.transpose(1, 2))
        of_k.baddbmm_(q[:, near].transpose(1, 2), of)

    def _inside(self, first: int, stop: int) -> slice:
        """Which rows the plane has of those from one before some to one after them."""
        return slice(max(0, 1 - first), min(stop, self.tokens - 1) + 2 - first)


def first_rows(columns: Columns, rows: int) -> Columns:
    """The same columns of a kernel, and what so many rows of results need of what they meet."""
    return [(weight[:rows], met[:rows]) for weight, met in columns]
