"""Attention without the N x N planes: a block of their rows at a time, while it is in the cache."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import torch

from napari_hmkd.model.planes import MAPS, SCORE_LIMIT, AttentionPlanes
from napari_hmkd.model.precision import float32_island, widened
from napari_hmkd.model.scratch import scratch
from napari_hmkd.model.sharing import share_out

BLOCK_ELEMENTS = 2**18
"""Of each of a block's planes. The 1 MB they take in float32 was fastest with 1 MB of L2 cache a core;
half and twice of it took 5 to 10 % more."""

LEAST_ROWS = 16
"""Below, the rows that blocks share, and compute twice, would be most of the work."""

MOST_ROWS = 128
"""Above, all of a small plane would be one block, with which no other thread could help."""

LANES = 16
"""Rows of the planes have whole multiples of so many columns. Of 1026 of them products take a third
more time than of 1040."""

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
        out = _empty_like(widened(value))
        kept = v.new_empty(len(v), k.shape[3], k.shape[3]) if keep else None
        gained = out.view(v.shape)
        tiles, rows = _block_size(len(k), k.shape[3])

        def compute(parts: Iterable[tuple[int, int]]) -> None:
            block = _Block(planes, tiles, rows, k)
            for tile, first in parts:
                some, these = slice(tile, tile + tiles), slice(first, first + rows)
                attention = block.attention(q[some], k[some], first)
                torch.bmm(v[some], attention.transpose(1, 2), out=gained[some, :, these])
                if kept is not None:
                    kept[some, these] = attention

        share_out(compute, product(range(0, len(k), tiles), range(0, k.shape[3], rows)))
    return out, kept


def _empty_like(value: torch.Tensor) -> torch.Tensor:
    """In the memory order of values (B, C, h, w), with which the layers that follow go on."""
    last = value.is_contiguous(memory_format=torch.channels_last)
    order = torch.channels_last if last else torch.contiguous_format
    return torch.empty_like(value, memory_format=order)


def _block_size(batch: int, tokens: int) -> tuple[int, int]:
    """Tiles and rows of a block: all rows of several small tiles, or some rows of one."""
    rows = min(tokens, MOST_ROWS, max(LEAST_ROWS, BLOCK_ELEMENTS // (MAPS * tokens)))
    if rows < tokens:
        return 1, rows
    return max(1, min(batch, BLOCK_ELEMENTS // (MAPS * tokens * (tokens + 2 * HALO)))), rows


class _Block:
    """Memory and weights of a block, which serves one after the other.

    Rows of the planes follow each other, and in a row its four maps, so that the three rows which a
    convolution needs are one matrix, and one product takes all of their maps. Rows and columns beyond
    the plane are held, too: they are the zeros of padding, and more where `LANES` asks for them. Of
    several tiles each has its own.
    """

    def __init__(self, planes: AttentionPlanes, tiles: int, rows: int, key: torch.Tensor) -> None:
        tokens = key.shape[3]
        weight, bias = planes.folded_mix()
        self._rows, self._tokens = rows, tokens
        held, width = rows + 2 * HALO, _whole_lanes(tokens + 2)
        computed = tiles * held - 2  # what lies between two tiles means nothing
        self._scores, self._mixed, self._weighted, self._attention = scratch(
            key,
            (tiles, held, MAPS, width + 2),
            (computed, MAPS, width),
            (tiles, held, MAPS, width),
            (tiles, held, tokens),
        )
        self._scores.zero_()
        self._weighted.zero_()
        inside = self._scores[..., 2 : tokens + 2].transpose(1, 2)  # (tiles, 4, rows, N)
        self._inside = inside.unbind()
        self._edges = self._mixed[..., :1], self._mixed[..., tokens + 1 :]
        self._weighted_rows = self._weighted.flatten(0, 1)[:computed]
        self._merged = self._attention.flatten(0, 1)[:computed, None]
        self._mix = columns(weight * key.shape[2] ** -0.5, self._scores)
        self._mix_bias = bias[:, None].expand_as(self._mixed)
        self._merge = columns(planes.merge.weight, self._weighted[..., : tokens + 2])
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
        for beyond in self._edges:
            beyond.fill_(_NOTHING)
        torch.softmax(self._mixed, dim=-1, out=self._weighted_rows)
        self._weighted_rows.mul_(self._mixed)
        self._clear_outside(self._weighted, first - 1)
        convolve(self._merge, self._merge_bias, self._merged)
        return self._attention[: len(key), : min(self._rows, self._tokens - first)]

    def _score(self, query: torch.Tensor, key: torch.Tensor, first: int) -> None:
        """Products of the queries from row `first` on, which may be negative, with all keys."""
        start, stop = max(first, 0), min(first + self._scores.shape[1], self._tokens)
        for q, k, inside in zip(query, key, self._inside, strict=False):
            torch.bmm(q[:, start:stop], k, out=inside[:, start - first : stop - first])
        self._clear_outside(self._scores, first)

    def _clear_outside(self, rows: torch.Tensor, first: int) -> None:
        """Zero those of a block's rows that the plane does not have; the first of them is `first`."""
        if first < 0:
            rows[:, :-first] = 0
        if first + rows.shape[1] > self._tokens:
            rows[:, self._tokens - first :] = 0


def zero_rows(like: torch.Tensor, *shape: int) -> torch.Tensor:
    """Zeros (tiles, rows, maps, width), with room after each row of a map up to whole `LANES`."""
    *outer, width = shape
    return like.new_zeros(*outer, _whole_lanes(width))[..., :width]


def _whole_lanes(width: int) -> int:
    return -(-width // LANES) * LANES


def columns(weight: torch.Tensor, padded: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each column of a 3 x 3 kernel, and what it meets.

    Parameters
    ----------
    weight : torch.Tensor
        (maps out, maps, 3, 3).
    padded : torch.Tensor
        (tiles, rows, maps, N + 2), where a row of maps may have more columns than are looked at.

    Returns
    -------
    list of tuple
        Of (tiles * rows - 2, maps out, 3 maps) and (tiles * rows - 2, 3 maps, N), which are views.
    """
    tiles, rows, maps, width = padded.shape
    count, (row, line) = tiles * rows - 2, padded.stride()[1:3]
    return [
        (
            weight[..., column].transpose(1, 2).flatten(1).expand(count, -1, -1),
            padded[..., column:].as_strided((count, 3 * maps, width - 2), (row, line, 1)),
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
