"""Attention that is trained without its N x N planes: what a gradient needs is computed again by rows.

Nothing is kept but queries, keys and values, and A where it is asked for. Where it is not, only one
of the operator's three parts is N x N:

- mean and variance of the mixed scores, from products of tokens with tokens (`score_moments`);
- softmax and its product with the scores, a block of rows at a time (`_Weighed`);
- the last convolution, which is linear, and so can shift values and results instead of planes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from napari_hmkd.model.merged_rows import MergedRows
from napari_hmkd.model.planes import MAPS, AttentionPlanes
from napari_hmkd.model.precision import float32_island, widened
from napari_hmkd.model.score_moments import score_moments
from napari_hmkd.model.score_rows import ScoreRows
from napari_hmkd.model.sharing import share_out

Gradients = tuple[torch.Tensor, ...]


def attend_by_rows(
    planes: AttentionPlanes, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """A v as `AttentionPlanes` in training and `attend` define it, with gradients.

    Parameters
    ----------
    planes : AttentionPlanes
        In training; the running statistics of its norm are moved by this batch.
    query, key : torch.Tensor
        As `AttentionPlanes.forward` takes them.
    value : torch.Tensor
        (B, C, h, w).

    Returns
    -------
    torch.Tensor
        float32 (B, C, h, w); float64 of float64 queries.
    """
    with float32_island(key):
        q, k = _tokens(query, key)
        weight, bias = _normed_mix(planes, q, k)
        values = _shifted_values(planes.merge.weight[0], widened(value).flatten(2))
        parts = _Weighed.apply(q.transpose(2, 3), k, weight, bias, values)
        before, here, after = functional.pad(parts, (0, 0, 1, 1)).chunk(3, dim=2)
        out = before[:, :-2] + here[:, 1:-1] + after[:, 2:]
    return out.transpose(1, 2).unflatten(2, value.shape[2:])


def attention_by_rows(
    planes: AttentionPlanes, query: torch.Tensor, key: torch.Tensor
) -> torch.Tensor:
    """A as `AttentionPlanes` in training defines it, with gradients, and nothing N x N kept but it.

    Parameters
    ----------
    planes, query, key
        As `attend_by_rows` takes them.

    Returns
    -------
    torch.Tensor
        float32 (B, N, N); float64 of float64 queries.
    """
    with float32_island(key):
        q, k = _tokens(query, key)
        weight, bias = _normed_mix(planes, q, k)
        attention: torch.Tensor = _Merged.apply(
            q.transpose(2, 3), k, weight, bias, planes.merge.weight
        )
    return attention


def _tokens(query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as (B, 4, C, N), whose products are the scores."""
    channels = key.shape[1] // MAPS
    k = widened(key).unflatten(1, (MAPS, channels)).flatten(3)
    q = widened(query).unflatten(1, (-1, channels)).flatten(3) * channels**-0.5
    return q.expand_as(k), k


def _normed_mix(
    planes: AttentionPlanes, q: torch.Tensor, k: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mixing convolution and its norm as one convolution: weight (4, 4, 3, 3) and bias (4,)."""
    norm = planes.norm
    mean, covariance = checkpoint(
        score_moments, q, k, use_reentrant=False, preserve_rng_state=False
    )
    kernels = planes.mix.weight.flatten(1).to(mean.dtype)
    mean = kernels @ mean
    variance = ((kernels @ covariance) * kernels).sum(dim=1)
    _move_statistics(norm, mean.detach(), variance.detach(), len(k) * k.shape[3] ** 2)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    weight, bias = planes.mix.weight * scale[:, None, None, None], norm.bias - mean * scale
    return weight.to(k.dtype), bias.to(k.dtype)


@torch.no_grad()
def _move_statistics(
    norm: nn.BatchNorm2d, mean: torch.Tensor, variance: torch.Tensor, count: int
) -> None:
    """What a norm does with the statistics of a batch."""
    tracked = norm.get_buffer("num_batches_tracked").add_(1)
    share = 1 / tracked.item() if norm.momentum is None else norm.momentum
    seen = {"running_mean": mean, "running_var": variance * (count / (count - 1))}
    for name, statistic in seen.items():
        running = norm.get_buffer(name)
        running.lerp_(statistic.to(running.dtype), share)


def _shifted_values(merge: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Values as each map and row of the last convolution takes them.

    Parameters
    ----------
    merge : torch.Tensor
        (4, 3, 3).
    v : torch.Tensor
        (B, C, N).

    Returns
    -------
    torch.Tensor
        (B, 4 N, 3 C).
    """
    near = functional.pad(v, (1, 1)).unfold(2, 3, 1).flip(3)  # (B, C, N, 3): before which key
    return torch.einsum("mrd,bcnd->bmnrc", merge, near).flatten(3).flatten(1, 2)


class _Weighed(torch.autograd.Function):
    """Z softmax(Z) times values, Z the mixed and normed scores; no row of it is kept."""

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """(B, 4, N, C), (B, 4, C, N), (4, 4, 3, 3), (4,) and (B, 4 N, V) -> (B, N, V)."""
        ctx.save_for_backward(q, k, weight, bias, values)
        out = values.new_empty(len(k), k.shape[3], values.shape[2])

        def compute(tiles: Iterable[int]) -> None:
            rows = ScoreRows(k, weight, bias)
            for tile in tiles:
                for first, stop in rows.blocks():
                    weighed = rows.weigh(q[tile], k[tile], first, stop)
                    torch.mm(weighed.flatten(1), values[tile], out=out[tile, first:stop])

        share_out(compute, range(len(k)))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        """Each tile by itself, and what they share is added up in their order."""
        q, k, weight, bias, values = ctx.saved_tensors
        grad = grad.contiguous()
        of_q, of_k = torch.zeros_like(q.contiguous()), torch.zeros_like(k.contiguous())
        of_values = torch.zeros_like(values)
        of_weight = weight.new_zeros(len(k), *weight.shape)
        of_bias = bias.new_zeros(len(k), *bias.shape)

        def compute(tiles: Iterable[int]) -> None:
            rows = ScoreRows(k, weight, bias, gradients=True)
            for t in tiles:
                for first, stop in rows.blocks():
                    weighed = rows.weigh(q[t], k[t], first, stop)
                    near = grad[t, first:stop]
                    of_values[t].addmm_(weighed.flatten(1).T, near)
                    torch.mm(near, values[t].T, out=rows.of_weighed[: len(near)].flatten(1))
                    rows.unweigh(len(near), of_weight[t], of_bias[t])
                    rows.unscore(q[t], k[t], first, of_q[t], of_k[t])

        with float32_island(k):
            share_out(compute, range(len(k)))
        return of_q, of_k, of_weight.sum(dim=0), of_bias.sum(dim=0), of_values


class _Merged(torch.autograd.Function):
    """A, the convolution of Z softmax(Z), of which no row is kept."""

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
        merge: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """(B, 4, N, C), (B, 4, C, N), (4, 4, 3, 3), (4,) and (1, 4, 3, 3) -> (B, N, N)."""
        ctx.save_for_backward(q, k, weight, bias, merge)
        out = k.new_zeros(len(k), k.shape[3], k.shape[3])

        def compute(tiles: Iterable[int]) -> None:
            rows = ScoreRows(k, weight, bias)
            merged = MergedRows(rows.rows, k, merge)
            for tile in tiles:
                for first, stop in rows.blocks():
                    merged.merge(rows.weigh(q[tile], k[tile], first, stop), first, out[tile])

        share_out(compute, range(len(k)))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        """Each tile by itself, and what they share is added up in their order."""
        q, k, weight, bias, merge = ctx.saved_tensors
        of_q, of_k = torch.zeros_like(q.contiguous()), torch.zeros_like(k.contiguous())
        of_weight, of_bias, of_merge = (
            x.new_zeros(len(k), *x.shape) for x in (weight, bias, merge)
        )

        def compute(tiles: Iterable[int]) -> None:
            rows = ScoreRows(k, weight, bias, gradients=True)
            merged = MergedRows(rows.rows, k, merge)
            for t in tiles:
                for first, stop in rows.blocks():
                    weighed = rows.weigh(q[t], k[t], first, stop)
                    merged.unmerge(grad[t], weighed, first, rows.of_weighed, of_merge[t])
                    rows.unweigh(stop - first, of_weight[t], of_bias[t])
                    rows.unscore(q[t], k[t], first, of_q[t], of_k[t])

        with float32_island(k):
            share_out(compute, range(len(k)))
        return of_q, of_k, of_weight.sum(dim=0), of_bias.sum(dim=0), of_merge.sum(dim=0)
