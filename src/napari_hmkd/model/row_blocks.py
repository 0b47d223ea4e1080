"""Attention without the N x N planes: a block of their rows at a time, while it is in the cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch.nn import functional

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
        out = _empty_like(widened(value))
        kept = v.new_empty(len(v), k.shape[3], k.shape[3]) if keep else None
        tiles, rows = _block_size(len(k), k.shape[3])
        layers = _Layers.of(planes, k)
        # All views are made here, and not by each block: a thread that calls torch waits for the others.
        queries = _rows_with_halo(q, rows)
        keys, values = k.unbind(), v.split(tiles)
        gained = [some.split(rows, dim=2) for some in out.view(v.shape).split(tiles)]
        asked = None if kept is None else [some.split(rows, dim=1) for some in kept.split(tiles)]

        def compute(parts: Iterable[tuple[int, int]]) -> None:
            block = _Block(layers, tiles, rows, k)
            for group, of_rows in parts:
                some = slice(group * tiles, (group + 1) * tiles)
                asking = [tile[of_rows] for tile in queries[some]]
                attention = block.attention(asking, keys[some], of_rows * rows)
                torch.bmm(values[group], attention.transpose(1, 2), out=gained[group][of_rows])
                if asked is not None:
                    asked[group][of_rows].copy_(attention)

        share_out(compute, product(range(len(gained)), range(len(gained[0]))))
    return out, kept


def _rows_with_halo(query: torch.Tensor, rows: int) -> list[tuple[torch.Tensor, ...]]:
    """Of each tile the queries of each block, (4, rows + 2 HALO, C), 0 where the plane ends.

    Parameters
    ----------
    query : torch.Tensor
        (B, 1 or 4, C, N).
    rows : int
        Of a block; the last one may have fewer.
    """
    beyond = -query.shape[3] % rows
    padded = functional.pad(query, (HALO, HALO + beyond)).expand(-1, MAPS, -1, -1)
    blocks = padded.unfold(3, rows + 2 * HALO, rows)  # (B, 4, C, blocks, rows + 2 HALO)
    return [tile.unbind() for tile in blocks.permute(0, 3, 1, 4, 2).unbind()]


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


class _Layers(NamedTuple):
    """What scores go through.

    Attributes
    ----------
    mix, bias : torch.Tensor
        (4, 4, 3, 3) and (4,), the mixing convolution with its norm and the scale of the scores.
    limits : tuple of torch.Tensor
        Two (1 + N + padding), between which a row of them is kept. Beyond the plane softmax is to
        find nothing.
    merge : torch.Tensor
        (1, 4, 3, 3), the last convolution.
    """

    mix: torch.Tensor
    bias: torch.Tensor
    limits: tuple[torch.Tensor, ...]
    merge: torch.Tensor

    @classmethod
    def of(cls, planes: AttentionPlanes, key: torch.Tensor) -> _Layers:
        """Those of keys (B, 4, C, N)."""
        weight, bias = planes.folded_mix()
        limits = key.new_full((2, _whole_lanes(key.shape[3] + 2)), _NOTHING).unbind()
        for line, limit in zip(limits, (-SCORE_LIMIT, SCORE_LIMIT), strict=True):
            line[1 : key.shape[3] + 1].fill_(limit)
        return cls(weight * key.shape[2] ** -0.5, bias, limits, planes.merge.weight)


class _Block:
    """Memory and weights of a block, which serves one after the other.

    Rows of the planes follow each other, and in a row its four maps, so that the three rows which a
    convolution needs are one matrix, and one product takes all of their maps. Rows and columns beyond
    the plane are held, too: they are the zeros of padding, and more where `LANES` asks for them. Of
    several tiles each has its own.
    """

    def __init__(self, layers: _Layers, tiles: int, rows: int, key: torch.Tensor) -> None:
        tokens = key.shape[3]
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
        inside = self._scores[..., 2 : tokens + 2].transpose(1, 2)  # (tiles, 4, rows, N)
        self._inside = inside.unbind()
        self._weighted_rows = self._weighted.flatten(0, 1)[:computed]
        self._read = self._attention[:, :rows]
        self._merged = self._attention.flatten(0, 1)[:computed, None]
        self._mix = columns(layers.mix, self._scores)
        self._mix_bias = layers.bias[:, None].expand_as(self._mixed)
        self._limits = layers.limits
        self._merge = columns(layers.merge, self._weighted[..., : tokens + 2])

    def attention(
        self, queries: Sequence[torch.Tensor], keys: Sequence[torch.Tensor], first: int
    ) -> torch.Tensor:
        """A of the block's rows from `first` on.

        Parameters
        ----------
        queries, keys : sequence of torch.Tensor
            Of each tile, of which there are at most the block's: (4, rows + 2 HALO, C), which are 0
            where the plane has no row, and (4, C, N).
        first : int
            Which row of the plane the block begins with.

        Returns
        -------
        torch.Tensor
            (t, rows that the plane has, N), overwritten by the next call.
        """
        for q, k, scores in zip(queries, keys, self._inside, strict=False):
            torch.bmm(q, k, out=scores)
        convolve(self._mix, self._mixed, self._mix_bias)
        torch.clamp(self._mixed, *self._limits, out=self._mixed)
        torch.softmax(self._mixed, dim=-1, out=self._weighted_rows)
        self._weighted_rows.mul_(self._mixed)
        if first == 0:
            self._weighted[:, : HALO - 1].zero_()
        if first + self._rows >= self._tokens:
            self._weighted[:, self._tokens - first + HALO - 1 :].zero_()
        convolve(self._merge, self._merged)
        if len(queries) == len(self._read) and first + self._rows <= self._tokens:
            return self._read
        return self._read[: len(queries), : self._tokens - first]


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
    met = padded.as_strided((3, count, 3 * maps, width - 2), (1, row, line, 1))
    kernels = weight.permute(3, 0, 2, 1).flatten(2)  # (3 columns, maps out, 3 maps)
    return list(zip(kernels[:, None].expand(-1, count, -1, -1), met, strict=True))


def convolve(
    columns: list[tuple[torch.Tensor, torch.Tensor]],
    out: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> None:
    """Sum what the columns of a kernel give, and its bias, if it has one."""
    first, *others = columns
    if bias is None:
        torch.bmm(*first, out=out)
    else:
        torch.baddbmm(bias, *first, out=out)
    for weight, rows in others:
        out.baddbmm_(weight, rows)
