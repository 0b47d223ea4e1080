"""Triton's kernels for attention, which load triton: import them where they are to run.

All that they add up is float32. Beyond the last token, map or channel they see zeros.
"""

from __future__ import annotations

import triton
import triton.language as tl

from napari_hmkd.model import planes

MAPS = tl.constexpr(planes.MAPS)
LIMIT = tl.constexpr(planes.SCORE_LIMIT)


@triton.jit
def _product(a, b, out, WIDEN: tl.constexpr):
    """out + a b in float32; of float32 in three products of tf32, as one would round to ten bits."""
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, out, input_precision="tf32x3")


@triton.jit
def fold(
    x, weight, folded, tokens, tile_stride, token_stride, channel_stride, per_map, channels, held,
    OUT_STRIDE: tl.constexpr, SUMMED: tl.constexpr, FORWARD: tl.constexpr, TOKENS: tl.constexpr,
    CHANNELS: tl.constexpr,
):  # fmt: skip
    """Each token with those beside it, as each row of each of four 3 x 3 kernels weighs them.

    folded[b, o, n, r, c] = sum over d and m < SUMMED of weight[o, m(c) + m, r, d] x[b, c + m C, n + d - 1],
    with n - d + 1 where not FORWARD; m(c) = c // C is the map of a channel.

    Parameters
    ----------
    x : pointer
        To (B, maps C, tokens), with these strides.
    weight : pointer
        To float32, OUT_STRIDE apart for each o and 9 for each map.
    folded : pointer
        To (B, 4, tokens, 3, held), made; zeros from `channels` on.
    per_map, channels : int
        C, and channels of the result.
    TOKENS, CHANNELS : int
        Sides of a program's block.

    The grid is blocks of tokens, blocks of channels, B.
    """
    tile = tl.program_id(2).to(tl.int64)
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    x += tile * tile_stride + (channel * channel_stride)[None, :]
    at = folded + (tile * MAPS * tokens + token)[:, None] * 3 * held + channel[None, :]
    weight += channel // per_map * 9
    for out in range(MAPS):
        for row in range(3):
            total = tl.zeros((TOKENS, CHANNELS), tl.float32)
            for one in tl.static_range(SUMMED):
                for column in tl.static_range(3):
                    beside = token + (column - 1 if FORWARD else 1 - column)
                    seen = ((beside >= 0) & (beside < tokens))[:, None] & (channel < channels)[
                        None, :
                    ]
                    values = tl.load(
                        x + (beside * token_stride)[:, None] + one * per_map * channel_stride,
                        mask=seen, other=0.0,
                    )  # fmt: skip
                    weights = tl.load(
                        weight + (out * OUT_STRIDE + one * 9 + row * 3 + column),
                        mask=channel < channels, other=0.0,
                    )  # fmt: skip
                    total += weights[None, :] * values.to(tl.float32)
            tl.store(
                at + (out * tokens * 3 + row) * held, total.to(folded.dtype.element_ty),
                mask=(token < tokens)[:, None] & (channel < held)[None, :],
            )  # fmt: skip


@triton.jit
def gather_rows(
    query, key, value, norm_weight, norm_bias, norm_mean, norm_variance, gathered, tokens, query_tokens,
    value_channels, scale, eps, DEPTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    STEP: tl.constexpr, CHANNELS: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """What each row of one map of P = S softmax(S) gathers from that map's folded values.

    The softmax is online: sums are of exp(S - the largest S so far), and scaled when that grows
    (Dao et al. 2022, arXiv 2205.14135).

    Parameters
    ----------
    query : pointer
        To (B, query_tokens, DEPTH / 3): row i of the plane reads `DEPTH` values from token i on, which is
        the one before its own.
    key, value : pointers
        To (B, 4, tokens, DEPTH) and (B, 4, tokens, 3, value_channels), of the query's dtype.
    norm_weight, norm_bias, norm_mean, norm_variance : pointers
        To float32 (4,).
    gathered : pointer
        To float32 (B, 4, tokens, 3, value_channels), made.
    scale, eps : float
        Of the scores before the norm, and the norm's.
    ROWS, COLUMNS, STEP, CHANNELS : int
        Sides of blocks: of the plane, of DEPTH, of value channels.
    WIDEN : bool
        Whether to multiply in float32: Triton's interpreter has no products of bfloat16.

    The grid is blocks of rows, maps x blocks of value channels, B.
    """
    tile, one = tl.program_id(2).to(tl.int64), tl.program_id(1) % MAPS
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    deep = tl.arange(0, STEP)
    channel = tl.program_id(1) // MAPS * CHANNELS + tl.arange(0, CHANNELS)
    query += (tile * query_tokens + rows)[:, None] * (DEPTH // 3) + deep[None, :]
    key += (tile * MAPS + one) * tokens * DEPTH + deep[:, None]
    value += (tile * MAPS + one) * tokens * 3 * value_channels + channel[None, :]
    gain = tl.load(norm_weight + one) / tl.sqrt(tl.load(norm_variance + one) + eps)
    bias = tl.load(norm_bias + one) - tl.load(norm_mean + one) * gain
    gain *= scale

    largest = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    before = tl.zeros((ROWS, CHANNELS), tl.float32)
    beside = tl.zeros((ROWS, CHANNELS), tl.float32)
    after = tl.zeros((ROWS, CHANNELS), tl.float32)
    for first in range(0, tokens, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        inside = columns < tokens
        scores = tl.zeros((ROWS, COLUMNS), tl.float32)
        for step in range(0, DEPTH, STEP):
            q = tl.load(query + step, mask=(rows < tokens)[:, None], other=0.0)
            k = tl.load(key + (columns * DEPTH)[None, :] + step, mask=inside[None, :], other=0.0)
            scores = _product(q, k, scores, WIDEN)
        scores = tl.clamp(scores * gain + bias, -LIMIT, LIMIT, propagate_nan=tl.PropagateNan.ALL)
        grown = tl.maximum(largest, tl.max(tl.where(inside[None, :], scores, float("-inf")), 1))
        shrink = tl.exp(largest - grown)
        weights = tl.where(inside[None, :], tl.exp(scores - grown[:, None]), 0.0)
        total = total * shrink + tl.sum(weights, 1)
        weighed = (weights * scores).to(value.dtype.element_ty)
        v = value + (columns * 3 * value_channels)[:, None]
        seen = inside[:, None] & (channel < value_channels)[None, :]
        before = _product(
            weighed, tl.load(v, mask=seen, other=0.0), before * shrink[:, None], WIDEN
        )
        v += value_channels
        beside = _product(
            weighed, tl.load(v, mask=seen, other=0.0), beside * shrink[:, None], WIDEN
        )
        v += value_channels
        after = _product(weighed, tl.load(v, mask=seen, other=0.0), after * shrink[:, None], WIDEN)
        largest = grown

    at = ((tile * MAPS + one) * tokens + rows)[:, None] * 3 * value_channels + channel[None, :]
    at += gathered
    seen = (rows < tokens)[:, None] & (channel < value_channels)[None, :]
    tl.store(at, before / total[:, None], mask=seen)
    tl.store(at + value_channels, beside / total[:, None], mask=seen)
    tl.store(at + 2 * value_channels, after / total[:, None], mask=seen)
