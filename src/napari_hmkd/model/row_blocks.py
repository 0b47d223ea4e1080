"""Attention without the N x N planes: a block of their rows at a time, while it is in the cache."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import torch

from napari_hmkd.model.planes import MAPS, SCORE_LIMIT, AttentionPlanes
from napari_hmkd.model.precision import float32_island, widened
from napari_hmkd.model.sharing import share_out

BLOCK_ELEMENTS = 2**18
"""Of each of a block's planes. The 1 MB they take in float32 was fastest with 1 MB of L2 cache a core;
half and twice of it took 5 to 10 % more."""

LEAST_ROWS = 16
"""Below, the rows that blocks share, and compute twice, would be most of the work."""

HALO = 2
"""A row of A is made of three rows of S softmax(S), and those of five rows of the scores."""

_NOTHING = -1e30
"""A score of which softmax leaves exactly 0, beside those that `SCORE_LIMIT` allows."""


def attend_by_blocks(
    planes: AttentionPlanes,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    keep: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A v as `AttentionPlanes` in evaluation and `attend` define it, without gradients.

    Parameters
    ----------
    planes : AttentionPlanes
        Its norm answers with its running statistics, which are folded into the convolution anew at
        each call.
    query, key : torch.Tensor
        As `AttentionPlanes.forward` takes them.
    value : torch.Tensor
        (B, C, h, w).
    keep : bool
        Whether A itself is asked for; it is N x N for each tile.

    Returns
    -------
    tuple
        A v, float32 (B, C, h, w), and A, float32 (B, N, N) or None; float64 of float64 queries.
    """
    channels = key.shape[1] // MAPS
    with float32_island(key):
        q = widened(query).unflatten(1, (-1, channels)).flatten(3)  # (B, 1 or maps, C, N)
        k = widened(key).unflatten(1, (MAPS, channels)).flatten(3)
        v = widened(value).flatten(2)  # (B, C, N)
        q = q.expand_as(k).transpose(2, 3)
        out = torch.empty_like(v)
        kept = v.new_empty(len(v), k.shape[3], k.shape[3]) if keep else None
        tiles, rows = _block_size(len(k), k.shape[3])

        def compute(parts: Iterable[tuple[int, int]]) -> None:
            block = _Block(planes, tiles, rows, k)
            for tile, first in parts:
                some, these = slice(tile, tile + tiles), slice(first, first + rows)
                attention = block.attention(q[some], k[some], first)
                torch.bmm(v[some], attention.transpose(1, 2), out=out[some, :, these])
                if kept is not None:
                    kept[some, these] = attention

        share_out(compute, product(range(0, len(k), tiles), range(0, k.shape[3], rows)))
    return out.unflatten(2, value.shape[2:]), kept


def _block_size(batch: int, tokens: int) -> tuple[int, int]:
    """Tiles and rows of a block: all rows of several small tiles, or some rows of one."""
    rows = min(tokens, max(LEAST_ROWS, BLOCK_ELEMENTS // (MAPS * tokens)))
    if rows < tokens:
        return 1, rows
    return max(1, min(batch, BLOCK_ELEMENTS // (MAPS * tokens * (tokens + 2 * HALO)))), rows


class _Block:
    """Memory and weights of a block, which serves one after the other.

    Rows of the planes follow each other, and in a row its four maps, so that the three rows which a
    convolution needs are one matrix, and one product takes all of their maps. Rows and columns beyond
    the plane are held, too: they are the zeros of padding. Of several tiles each has its own.
    """

    def __init__(self, planes: AttentionPlanes, tiles: int, rows: int, key: torch.Tensor) -> None:
        tokens = key.shape[3]
        weight, bias = planes.folded_mix()
        self._rows, self._tokens = rows, tokens
        held = rows + 2 * HALO
        computed = tiles * held - 2  # what lies between two tiles means nothing
        self._scores = key.new_zeros(tiles, held, MAPS, tokens + 4)
        self._mixed = key.new_empty(computed, MAPS, tokens + 2)
        self._edges = self._mixed[..., :: tokens + 1]  # the two columns beyond the plane
        self._weighted = key.new_zeros(tiles, held, MAPS, tokens + 2)
        self._weighted_rows = self._weighted.flatten(0, 1)[:computed]
        self._attention = key.new_empty(tiles, held, tokens)
        self._merged = self._attention.flatten(0, 1)[:computed, None]
        self._mix = columns(weight * key.shape[2] ** -0.5, self._scores)
        self._mix_bias = bias[:, None].expand_as(self._mixed)
        self._merge = columns(planes.merge.weight, self._weighted)
        self._merge_bias = key.new_zeros(1).expand_as(self._merged)

    def attention(self, query: torch.Tensor, key: torch.Tensor, first: int) -> torch.Tensor:
        """A of the block's rows from `first` on.

        Parameters
        ----------
        query, key : torch.Tensor
            (t, 4, N, C) and (t, 4, C, N), t at most the block's tiles.
        first : int
            Which row of the plane the block begins with.

        Returns
        -------
        torch.Tensor
            (t, rows that the plane has, N), overwritten by the next call.
        """
        self._score(query, key, first - HALO)
        convolve(self._mix, self._mix_bias, self._mixed)
        self._mixed.clamp_(-SCORE_LIMIT, SCORE_LIMIT)
        self._edges.fill_(_NOTHING)
        torch.softmax(self._mixed, dim=-1, out=self._weighted_rows)
        self._weighted_rows.mul_(self._mixed)
        self._clear_outside(self._weighted, first - 1)
        convolve(self._merge, self._merge_bias, self._merged)
        return self._attention[: len(key), : min(self._rows, self._tokens - first)]

    def _score(self, query: torch.Tensor, key: torch.Tensor, first: int) -> None:
        """Products of the queries from row `first` on, which may be negative, with all keys."""
        start, stop = max(first, 0), min(first + self._scores.shape[1], self._tokens)
        for q, k, scores in zip(query, key, self._scores, strict=False):
            inside = scores[start - first : stop - first, :, 2:-2].transpose(0, 1)
            torch.bmm(q[:, start:stop], k, out=inside)
        self._clear_outside(self._scores, first)

    def _clear_outside(self, rows: torch.Tensor, first: int) -> None:
        """Zero those of a block's rows that the plane does not have; the first of them is `first`."""
        rows[:, : max(0, -first)] = 0
        rows[:, self._tokens - first :] = 0


def columns(weight: torch.Tensor, padded: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each column of a 3 x 3 kernel, and what it meets.

    Parameters
    ----------
    weight : torch.Tensor
        (maps out, maps, 3, 3).
    padded : torch.Tensor
        (tiles, rows, maps, N + 2).

    Returns
    -------
    list of tuple
        Of (tiles * rows - 2, maps out, 3 maps) and (tiles * rows - 2, 3 maps, N), which are views.
    """
    tiles, rows, maps, width = padded.shape
    count = tiles * rows - 2
    return [
        (
            weight[..., column].transpose(1, 2).flatten(1).expand(count, -1, -1),
            padded.as_strided(
                (count, 3 * maps, width - 2), (maps * width, width, 1), storage_offset=column
            ),
        )
        for column in range(3)
    ]


def convolve(
    columns: list[tuple[torch.Tensor, torch.Tensor]], bias: torch.Tensor, out: torch.Tensor
) -> None:
    """Sum what the columns of a kernel give, and its bias."""
    total = bias
    for weight, rows in columns:
        total = torch.baddbmm(total, weight, rows, out=out)
