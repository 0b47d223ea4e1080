"""Triton's kernels for attention, which load triton: import them where they are to run.

A program has a block of rows of all four planes, which it never writes: it makes their scores tile by
tile, from the products of queries and keys that a 3 x 3 convolution needs.

All tensors are contiguous. Of `held` tokens of a map the first is token -HALO of the plane; those that
the plane does not have are zeros, and there are enough for whole blocks and their halo. So are channels
beyond the last, which fill up whole blocks, too.
"""

from __future__ import annotations

import triton
import triton.language as tl

from napari_hmkd.model import planes, row_blocks

MAPS = tl.constexpr(planes.MAPS)
LIMIT = tl.constexpr(planes.SCORE_LIMIT)
HALO = tl.constexpr(row_blocks.HALO)


@triton.jit
def _product(a, b, WIDEN: tl.constexpr):
    """A product of matrices in float32, without the rounding to tf32 that is Triton's default."""
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _scores(
    query, key, mix, bias, rows, columns, held, channels,
    QUERY_MAPS: tl.constexpr, CHANNELS: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """S of all maps at these rows and columns of the plane: float32 (4, rows, columns)."""
    maps = tl.arange(0, MAPS)
    some = tl.arange(0, CHANNELS)
    query += (rows + HALO)[:, None] * channels + some[None, :]
    key += (columns + HALO)[None, :] * channels + some[:, None]
    scores = tl.zeros((MAPS, rows.shape[0], columns.shape[0]), tl.float32)
    scores += tl.load(bias + maps)[:, None, None]
    weights_at = mix + maps * (MAPS * 9)
    for _map in range(MAPS):
        for row in range(-1, 2):
            for column in range(-1, 2):
                products = tl.zeros((rows.shape[0], columns.shape[0]), tl.float32)
                for first in range(0, channels, CHANNELS):
                    q = tl.load(query + (row * channels + first))
                    k = tl.load(key + (column * channels + first))
                    products += _product(q, k, WIDEN)
                scores += tl.load(weights_at)[:, None, None] * products[None, :, :]
                weights_at += 1
        key += held * channels
        if QUERY_MAPS == MAPS:
            query += held * channels
    return tl.clamp(scores, -LIMIT, LIMIT, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def gather_rows(
    query, key, value, mix, bias, gathered, largest_at, total_at, tokens, held, channels, value_channels,
    QUERY_MAPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """What each row of each map of P = S softmax(S) gathers from the values beside its columns.

    The softmax is online: sums are of exp(S - the largest S so far), and scaled when that grows.

    Parameters
    ----------
    query, key, value : pointers
        To (B, QUERY_MAPS, held, channels), (B, 4, held, channels) and (B, held, value_channels), of one
        dtype.
    mix, bias : pointers
        To float32 (4, 4, 3, 3) and (4,): the convolution with its norm and the scale of the scores.
    gathered : pointer
        To float32 (B, 4, 3, held, value_channels), made for the plane's rows: for each column d of the
        merging kernel sum_j P[i, j] v[j + 1 - d].
    largest_at, total_at : pointers
        To float32 (B, 4, held), made for the plane's rows: max_j S[i, j], and sum_j exp(S[i, j] - max).
    QUERY_MAPS, ROWS, COLUMNS, CHANNELS : int
        Maps of the query, and the sides of blocks.
    WIDEN : bool
        Whether to multiply in float32: Triton's interpreter has no products of bfloat16.

    The grid is blocks of rows, blocks of value channels, B.
    """
    tile = tl.program_id(2).to(tl.int64)
    query += tile * QUERY_MAPS * held * channels
    key += tile * MAPS * held * channels
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    some = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    value += tile * held * value_channels + some[None, :]

    # The maps' rows stand below each other: one product then serves all of them.
    largest = tl.full((MAPS * ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((MAPS * ROWS,), tl.float32)
    after = tl.zeros((MAPS * ROWS, CHANNELS), tl.float32)
    beside = tl.zeros((MAPS * ROWS, CHANNELS), tl.float32)
    before = tl.zeros((MAPS * ROWS, CHANNELS), tl.float32)
    for first in range(0, tokens, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        inside = (columns < tokens)[None, :]
        scores = _scores(
            query, key, mix, bias, rows, columns, held, channels, QUERY_MAPS, CHANNELS, WIDEN
        )
        scores = tl.reshape(scores, (MAPS * ROWS, COLUMNS))
        grown = tl.maximum(largest, tl.max(tl.where(inside, scores, float("-inf")), 1))
        shrink = tl.exp(largest - grown)
        weights = tl.where(inside, tl.exp(scores - grown[:, None]), 0.0)
        total = total * shrink + tl.sum(weights, 1)
        weighed = (weights * scores).to(value.dtype.element_ty)
        v = value + (columns + HALO)[:, None] * value_channels
        after = after * shrink[:, None] + _product(weighed, tl.load(v + value_channels), WIDEN)
        beside = beside * shrink[:, None] + _product(weighed, tl.load(v), WIDEN)
        before = before * shrink[:, None] + _product(weighed, tl.load(v - value_channels), WIDEN)
        largest = grown

    one, row = tl.arange(0, MAPS * ROWS) // ROWS, tl.arange(0, MAPS * ROWS) % ROWS
    row += tl.program_id(0) * ROWS + HALO
    at = (tile * MAPS + one) * held + row
    tl.store(largest_at + at, largest)
    tl.store(total_at + at, total)
    at = ((tile * MAPS + one) * 3 * held + row)[:, None] * value_channels + some[None, :]
    tl.store(gathered + at, after / total[:, None])
    tl.store(gathered + at + held * value_channels, beside / total[:, None])
    tl.store(gathered + at + 2 * held * value_channels, before / total[:, None])


@triton.jit
def merge_rows(
    query, key, mix, bias, merge, largest_at, total_at, attention, tokens, held, channels,
    QUERY_MAPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """A itself, each of its tiles from the nine of P that the merging kernel moves over it.

    Parameters
    ----------
    query, key, mix, bias, QUERY_MAPS, ROWS, COLUMNS, CHANNELS, WIDEN
        As `gather_rows` takes them.
    merge : pointer
        To float32 (1, 4, 3, 3).
    largest_at, total_at : pointers
        To what `gather_rows` made.
    attention : pointer
        To float32 (B, tokens, tokens), made.

    The grid is blocks of rows, blocks of columns, B.
    """
    tile = tl.program_id(2).to(tl.int64)
    query += tile * QUERY_MAPS * held * channels
    key += tile * MAPS * held * channels
    maps = tl.arange(0, MAPS)
    statistics_at = (tile * MAPS + maps)[:, None] * held + HALO
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    merged = tl.zeros((ROWS, COLUMNS), tl.float32)
    weights_at = merge + maps * 9
    for row in range(-1, 2):
        for column in range(-1, 2):
            i, j = rows + row, columns + column
            scores = _scores(
                query, key, mix, bias, i, j, held, channels, QUERY_MAPS, CHANNELS, WIDEN
            )
            inside = ((i >= 0) & (i < tokens))[:, None] & ((j >= 0) & (j < tokens))[None, :]
            largest = tl.load(largest_at + statistics_at + i[None, :])
            total = tl.load(total_at + statistics_at + i[None, :])
            soft = tl.exp(scores - largest[:, :, None]) / total[:, :, None]
            weighed = tl.where(inside[None, :, :], scores * soft, 0.0)
            merged += tl.sum(tl.load(weights_at)[:, None, None] * weighed, 0)
            weights_at += 1
    at = attention + (tile * tokens + rows)[:, None] * tokens + columns[None, :]
    tl.store(at, merged, mask=(rows < tokens)[:, None] & (columns < tokens)[None, :])
