"""Attention over four maps whose scores are mixed by convolutions (METHOD.md section 1)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.checkpoint import checkpoint

from napari_hmkd.model.precision import float32_island, widened

MAPS = 4
AttentionForm = Literal["auto", "plain", "triton"]
"""How attention is computed: "auto" is the fastest way to the same numbers where there is another one
than the formula's own, which is "plain"; "triton" is a GPU's, whatever else there is."""

SCORE_LIMIT = 1e4
"""Largest score S. The reference networks and the demo student on its own tissue stay below 1. On
tissue unlike any seen in training a block answers with the third power of what is too large, and
without a limit the next ones overflow float32; the softmax has settled on one key long before."""


class AttentionPlanes(nn.Module):
    """Turn queries and keys into one attention matrix A, which is no probability.

    S = BN(Conv3x3_{4->4}(q k^T / sqrt(C))) over the (N, N) plane, A = Conv3x3_{4->1}(S softmax(S)).
    S softmax(S) has no bound in the published form, so all of it is float32 whatever autocast says,
    and S is limited to `SCORE_LIMIT`, which the published networks never come near.

    With `recompute`, training keeps one of the six (4, N, N) planes between queries, keys and A
    and computes the others again for the gradient (Chen et al. 2016, arXiv 1604.06174).
    """

    def __init__(self) -> None:
        super().__init__()
        self.recompute = False
        self.form: AttentionForm = "auto"
        self.mix = nn.Conv2d(MAPS, MAPS, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(MAPS)
        self.merge = nn.Conv2d(MAPS, 1, 3, padding=1, bias=False)

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Attention of queries to keys.

        Parameters
        ----------
        query : torch.Tensor
            (B, 4 C, h, w), or (B, C, h, w) for one map that serves all four of the keys.
        key : torch.Tensor
            (B, 4 C, h, w), map-major.

        Returns
        -------
        torch.Tensor
            float32 (B, N, N) with N = h w, rows the queries.
        """
        with float32_island(key):
            mixed = self._kept(self._mixed, query, key) if self.again else self._mixed(query, key)
            return self._kept(self._merged, mixed) if self.again else self._merged(mixed)

    def folded_mix(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The mixing convolution with its norm as in evaluation: weight (4, 4, 3, 3), bias (4,)."""
        norm = self.norm
        statistics = norm.get_buffer("running_mean"), norm.get_buffer("running_var"), norm.eps
        weight, bias = fuse_conv_bn_weights(
            self.mix.weight, None, *statistics, norm.weight, norm.bias
        )
        return weight, bias

    @property
    def again(self) -> bool:
        """Whether a step of training is under way that computes planes again for the gradient."""
        return self.recompute and self.training and torch.is_grad_enabled()

    def _mixed(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Scores of queries with keys, convolved: (B, 4, N, N)."""
        channels = key.shape[1] // MAPS
        # (B, maps C, h, w) -> (B, maps, C, N)
        q = widened(query).unflatten(1, (-1, channels)).flatten(3)
        k = widened(key).unflatten(1, (MAPS, channels)).flatten(3)
        return _convolve(self.mix, (q * channels**-0.5).transpose(2, 3) @ k)

    def _merged(self, mixed: torch.Tensor) -> torch.Tensor:
        """A of convolved scores: (B, 4, N, N) -> (B, N, N)."""
        scores = self.norm(mixed).clamp(-SCORE_LIMIT, SCORE_LIMIT)
        return _convolve(self.merge, scores * scores.softmax(dim=-1)).squeeze(1)

    def _kept(self, step: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
        """Keep the inputs of a step for the gradient, and nothing between them and its result.

        Each step ends in a convolution, which is not repeated: what it needs is its input.
        """
        result: torch.Tensor = checkpoint(
            step,
            *inputs,
            use_reentrant=False,
            preserve_rng_state=False,  # nothing here is drawn
            context_fn=lambda: (nullcontext(), _Unrecorded(self.norm)),
        )
        return result


def set_recompute(network: nn.Module, recompute: bool) -> None:
    """Choose for all attention of a network whether training computes its planes twice.

    Numbers stay the same but for rounding; memory per tile and speed change. Evaluation is not touched,
    but for A that is only compared: where its rows will do, they are computed twice as well.
    """
    for module in network.modules():
        if isinstance(module, AttentionPlanes):
            module.recompute = recompute


class _Unrecorded:
    """Within it copies of the running statistics move, which have seen this batch before.

    It is entered anew each time that gradients go back through the same step.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        self._norm = norm

    def __enter__(self) -> None:
        self._kept = dict(self._norm.named_buffers(recurse=False))
        for name, statistic in self._kept.items():
            setattr(self._norm, name, statistic.clone())

    def __exit__(self, *_: object) -> None:
        for name, statistic in self._kept.items():
            setattr(self._norm, name, statistic)


def attend(attention: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A v in float32: attention (B, N, N), value (B, C, h, w) -> (B, C, h, w)."""
    with float32_island(value):
        # (B, C, N) @ (B, N queries, N keys)^T
        out = widened(value).flatten(2) @ attention.transpose(1, 2)
    return out.unflatten(2, value.shape[2:])


def _convolve(conv: nn.Conv2d, planes: torch.Tensor) -> torch.Tensor:
    """Apply a convolution to planes (B, 4, N, N), on a CPU in the memory order it is fast in."""
    if planes.device.type != "cpu":
        return conv(planes)
    # Four channels fill no vector in the default order: backwards is five times slower there.
    last = torch.channels_last
    weight = conv.weight.contiguous(memory_format=last)
    return functional.conv2d(planes.contiguous(memory_format=last), weight, padding=1).contiguous()
