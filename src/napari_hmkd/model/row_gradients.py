"""Attention that is trained without its N x N planes: what a gradient needs is computed again by rows.

Nothing is kept but queries, keys and values. Where A is only to weigh values, one of the operator's
three parts is N x N:

- mean and variance of the mixed scores, from products of tokens with tokens (`score_moments`);
- softmax and its product with the scores, a block of rows at a time (`_Weighed`);
- the last convolution, which is linear, and so can shift values and results instead of planes.

Where A is compared with a teacher's as well, its own rows are needed, and computed (`_Attended`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from napari_hmkd.model.attention_rows import AttentionBlock, AttentionRows
from napari_hmkd.model.planes import AttentionPlanes
from napari_hmkd.model.precision import float32_island, widened
from napari_hmkd.model.row_distance import Comparison
from napari_hmkd.model.score_moments import score_moments
from napari_hmkd.model.score_rows import ScoreRows, tokens_of
from napari_hmkd.model.sharing import share_out

Gradients = tuple[torch.Tensor, ...]
Result = TypeVar("Result")


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
        q, k = tokens_of(query, key)
        weight, bias = _normed_mix(planes, q, k)
        values = _shifted_values(planes.merge.weight[0], widened(value).flatten(2))
        parts = _Weighed.apply(q.transpose(2, 3), k, weight, bias, values)
        before, here, after = functional.pad(parts, (0, 0, 1, 1)).chunk(3, dim=2)
        out = before[:, :-2] + here[:, 1:-1] + after[:, 2:]
    return out.transpose(1, 2).unflatten(2, value.shape[2:])


def attend_with_rows(
    planes: AttentionPlanes, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, AttentionRows]:
    """A v as `attend_by_rows`, and A, to be compared with a teacher's by `row_distance`.

    The gradients of both are formed of the same rows, which are computed once for them.
    """
    with float32_island(key):
        q, k = tokens_of(query, key)
        mix = _normed_mix(planes, q, k)
        of = (q.transpose(2, 3), k, *mix, planes.merge.weight)
        compared: list[Comparison] = []
        out, mark = _Attended.apply(compared, *of, widened(value).flatten(2))
    rows = replace(AttentionRows.of(*of), mark=mark, compared=compared)
    return out.unflatten(2, value.shape[2:]), rows


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


def _first_order(backward: Callable[..., Result]) -> Callable[..., Result]:
    """A way back that has no gradients of its own.

    torch's `once_differentiable` raises only where nothing but these would be the answer: of a sum it
    leaves them out.
    """

    @wraps(backward)
    def checked(*gradients: Any) -> Result:
        if torch.is_grad_enabled():
            raise ValueError(
                "asked for gradients of gradients (create_graph=True), which attention has none of where it "
                "is trained by rows: call set_recompute(network, False) before"
            )
        return backward(*gradients)

    return checked


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
    @_first_order
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
                    rows.unweigh(slice(0, len(near)), of_weight[t], of_bias[t])
                    rows.unscore(q[t], k[t], first, stop, of_q[t], of_k[t])

        with float32_island(k):
            share_out(compute, range(len(k)))
        return of_q, of_k, of_weight.sum(dim=0), of_bias.sum(dim=0), of_values


class _Attended(torch.autograd.Function):
    """A v, and the distance of A from a teacher's, of which only the gradient is known here."""

    @staticmethod
    def forward(
        ctx: Any, compared: list[Comparison], q: torch.Tensor, k: torch.Tensor,
        weight: torch.Tensor, bias: torch.Tensor, merge: torch.Tensor, v: torch.Tensor,
    ) -> Gradients:  # fmt: skip
        """What `AttentionRows` has, and (B, C, N) -> (B, C, N), and 0 for each tile."""
        ctx.compared = compared
        ctx.save_for_backward(q, k, weight, bias, merge, v)
        rows, out = AttentionRows(q, k, weight, bias, merge), torch.empty_like(v)

        def compute(tiles: Iterable[int]) -> None:
            block = AttentionBlock(rows)
            for tile in tiles:
                for first, stop in block.blocks():
                    a = block.read(tile, first, stop)
                    torch.mm(v[tile], a.T, out=out[tile, :, first:stop])

        share_out(compute, range(len(k)))
        return out, k.new_zeros(len(k))

    @staticmethod
    @_first_order
    def backward(
        ctx: Any, grad: torch.Tensor, of_distance: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """Each tile by itself, and what they share is added up in their order."""
        *of, v = ctx.saved_tensors
        rows, of_v, gains = AttentionRows(*of), torch.zeros_like(v), of_distance.tolist()
        q, k, *shared = of
        sums = [torch.zeros_like(x.contiguous()) for x in (q, k)]
        sums += [x.new_zeros(len(k), *x.shape) for x in shared]

        def compute(tiles: Iterable[int]) -> None:
            block = AttentionBlock(rows, gradients=True)
            taught = [(one, one.reader()) for one in ctx.compared]
            for t in tiles:
                for first, stop in block.blocks():
                    start, end = block.around(first, stop)
                    a = block.read(t, start, end)
                    of_v[t].addmm_(grad[t, :, first:stop], a[first - start : stop - start])
                    of_a = grad[t, :, start:end].T @ v[t]
                    for one, read in taught:
                        one.add_gradient(t, a, read(t, start, end), gains[t], of_a)
                    block.unread(t, first, stop, of_a, [x[t] for x in sums])

        with float32_island(k):
            share_out(compute, range(len(k)))
        return None, *sums[:2], *(x.sum(dim=0) for x in sums[2:]), of_v
