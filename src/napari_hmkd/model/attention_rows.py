"""A of which some rows are computed whenever they are asked for, and nothing N x N is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from napari_hmkd.model.merged_rows import MergedRows
from napari_hmkd.model.planes import AttentionPlanes
from napari_hmkd.model.precision import float32_island
from napari_hmkd.model.row_blocks import HALO
from napari_hmkd.model.score_rows import ScoreRows, tokens_of
from napari_hmkd.model.sharing import share_out

if TYPE_CHECKING:
    from napari_hmkd.model.row_distance import Comparison

Kept = bool | Literal["rows"]
"""Whether attention is asked for, beside what is computed from it, and whether its rows will do."""


@dataclass(frozen=True, slots=True, eq=False)
class AttentionRows:
    """The attention matrices A (B, N, N) of a level, as what their rows are computed from.

    Attributes
    ----------
    q, k : torch.Tensor
        (B, 4, N, C) and (B, 4, C, N), whose products are the scores; without gradients, as all else
        but `mark`.
    weight, bias : torch.Tensor
        (4, 4, 3, 3) and (4,), the mixing convolution with its norm.
    merge : torch.Tensor
        (1, 4, 3, 3), the last convolution.
    mark : torch.Tensor or None
        (B,), 0: by way of it the gradient of each tile's distance gets to A, where A is learnt.
    compared : list of Comparison
        Which distance that is, once it is known.
    """

    q: torch.Tensor
    k: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    merge: torch.Tensor
    mark: torch.Tensor | None = None
    compared: list[Comparison] = field(default_factory=list)

    @classmethod
    def of(cls, *parts: torch.Tensor) -> AttentionRows:
        """Of q, k, weight, bias and merge, which may have gradients."""
        q, k, weight, bias, merge = (x.detach() for x in parts)
        return cls(q, k, weight, bias, merge)

    @property
    def shape(self) -> torch.Size:
        """(B, N, N)."""
        return torch.Size((len(self.k), self.k.shape[3], self.k.shape[3]))

    def matrix(self) -> torch.Tensor:
        """A as a plane, (B, N, N) of the dtype of its keys, without gradients."""
        plane = self.k.new_empty(self.shape)

        def compute(tiles: Iterable[int]) -> None:
            block = AttentionBlock(self)
            for tile in tiles:
                for first, stop in block.blocks():
                    plane[tile, first:stop] = block.read(tile, first, stop)

        with float32_island(self.k):
            share_out(compute, range(len(self.k)))
        return plane


Level = torch.Tensor | AttentionRows
"""The attention of one level: its planes, or what stands for them."""


def as_matrix(level: Level) -> torch.Tensor:
    """The planes of a level, (B, N, N)."""
    return level.matrix() if isinstance(level, AttentionRows) else level


def rows_as_they_are(
    planes: AttentionPlanes, query: torch.Tensor, key: torch.Tensor
) -> AttentionRows:
    """A as `AttentionPlanes` in evaluation defines it, from what its forward takes."""
    q, k = tokens_of(query, key)
    return AttentionRows.of(q.transpose(2, 3), k, *planes.folded_mix(), planes.merge.weight)


class AttentionBlock:
    """Memory and weights of a block of A's rows, which serves one after the other.

    Parameters
    ----------
    of : AttentionRows
        Whose rows.
    gradients : bool
        Whether there is a way back.
    """

    def __init__(self, of: AttentionRows, gradients: bool = False) -> None:
        self._of = of
        self._scores = ScoreRows(of.k, of.weight, of.bias, gradients, HALO)
        self._merged = MergedRows(self._scores.held, of.k, of.merge)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First row of each block, and the one after its last."""
        return self._scores.blocks()

    def around(self, first: int, stop: int) -> tuple[int, int]:
        """The rows of a block with the neighbours that its gradient needs."""
        return max(0, first - 1), min(self._scores.tokens, stop + 1)

    def read(self, tile: int, first: int, stop: int) -> torch.Tensor:
        """Rows of A, (stop - first, N), overwritten by the next call.

        Parameters
        ----------
        tile : int
            Of the batch.
        first, stop : int
            Which rows: at most a block's, and one more on each side.
        """
        start, end = self.around(first, stop)
        q, k = self._of.q[tile], self._of.k[tile]
        self._start, self._weighed = start, self._scores.weigh(q, k, start, end)
        at = first - start + 1
        return self._merged.merge(self._weighed)[at : at + stop - first]

    def unread(
        self, tile: int, first: int, stop: int, grad: torch.Tensor, sums: Iterable[torch.Tensor]
    ) -> None:
        """Go back from the gradient of A to that of what a block is computed from.

        Parameters
        ----------
        tile : int
            Of the batch.
        first, stop : int
            The block, of which the rows `around` were read by the last call.
        grad : torch.Tensor
            (n, N), of those rows.
        sums : iterable of torch.Tensor
            Gradients of the tile's q and k, of weight, bias and merge, to which the block's are
            added.
        """
        own = slice(first - self._start, stop - self._start)
        of_q, of_k, of_weight, of_bias, of_merge = sums
        scores, before = self._scores, int(first == 0)
        self._merged.unmerge(grad, before, self._weighed[own], scores.of_weighed, of_merge)
        scores.unweigh(own, of_weight, of_bias)
        scores.unscore(self._of.q[tile], self._of.k[tile], first, stop, of_q, of_k)
