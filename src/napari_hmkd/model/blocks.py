"""The convolutional parts of both networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from napari_hmkd.device import own_kernels
from napari_hmkd.model.precision import float32_island, wide_range
from napari_hmkd.model.sharing import beside, has_helpers

MLP_RATIO = 4
LARGE_MAP = 2**18
"""Elements. Of smaller ones a half takes as long to embed as the whole."""


def in_halves(
    layer: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, step: int = 1
) -> torch.Tensor:
    """A layer on the upper and the lower half of a grid, beside each other where threads can help.

    Parameters
    ----------
    layer : callable
        Makes a row of each `step` rows, and looks at no others for it.
    x : torch.Tensor
        (B, C, h, w), h a multiple of `step`.

    Returns
    -------
    torch.Tensor
        (B, any, h / step, any), what the layer returns for x.
    """
    upper = x.shape[2] // (2 * step) * step
    if not upper or not has_helpers():
        return layer(x)
    halves = x[:, :, :upper], x[:, :, upper:]
    return torch.cat(beside(*(partial(layer, half) for half in halves)), dim=2)


class PatchEmbedding(nn.Module):
    """Convolution with kernel = stride = `patch_px`, then BatchNorm."""

    def __init__(self, inputs: int, channels: int, patch_px: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, channels, patch_px, stride=patch_px)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, h, w) -> float32 (B, channels, h / patch_px, w / patch_px)."""
        with float32_island(x):
            # In this order: a record that has met a size holds for some batches alone.
            if has_helpers() and x.numel() >= LARGE_MAP:
                return self.norm(in_halves(self.project, x, self.project.stride[0]))
            return self.norm(self.project(x))


class DepthwiseConv(nn.Conv2d):
    """Each channel by itself, with an odd kernel and bias, on a grid that stays as large."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same shape."""
        with own_kernels(x.device):
            return super().forward(x)


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 then 1x1, both with bias and nothing between."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(inputs, 3)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w); queries and keys have no bound."""
        with wide_range(x):
            return super().forward(x)


class Projection(nn.Conv2d):
    """3x3 without bias; where threads can help, each half of its channels is one's own."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same shape."""
        if not has_helpers():
            return super().forward(x)
        halves = [partial(self._conv_forward, x, half, None) for half in self.weight.chunk(2)]
        return torch.cat(beside(*halves), dim=1)


class Mlp(nn.Sequential):
    """1x1 convolutions with GELU between, four times as wide inside, no biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = MLP_RATIO * channels
        self.expand = nn.Conv2d(channels, hidden, 1, bias=False)
        self.activation = nn.GELU()
        self.reduce = nn.Conv2d(hidden, channels, 1, bias=False)


class NormedMlp(nn.Sequential):
    """The `Mlp` of the cross-attention blocks, with BatchNorm after GELU and at the end."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = MLP_RATIO * channels
        self.expand = nn.Conv2d(channels, hidden, 1, bias=False)
        self.activation = nn.GELU()
        self.inner_norm = nn.BatchNorm2d(hidden)
        self.reduce = nn.Conv2d(hidden, channels, 1, bias=False)
        self.outer_norm = nn.BatchNorm2d(channels)


class Head(nn.Module):
    """GroupNorm over all channels, average over the grid, embedding, logits."""

    def __init__(self, channels: int, embedding: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.embed = nn.Linear(channels, embedding)
        self.embed_norm = nn.BatchNorm1d(embedding)
        self.classify = nn.Linear(embedding, classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, C, h, w) -> logits (B, classes), pooled (B, C), embedding (B, embedding)."""
        with float32_island(x):
            pooled = self.norm(x).mean(dim=(2, 3))
            embedding = self.embed_norm(self.embed(pooled)).relu()
            return self.classify(embedding), pooled, embedding

    def evidence(self, x: torch.Tensor) -> torch.Tensor:
        """What each cell of the grid adds to the logits, which are the mean of it over the grid.

        All but the rectifier is affine, in the average too. So the average's own choice of units to
        let through is applied to every cell, and averaging after classifying comes to the same; after
        the class activation maps of Zhou et al., CVPR 2016. In evaluation mode only, as the norm's
        statistics of a batch would be others.

        Parameters
        ----------
        x : torch.Tensor
            (B, C, h, w), as `forward` takes it.

        Returns
        -------
        torch.Tensor
            float32 (B, classes, h, w).
        """
        with float32_island(x):
            cells = self.norm(x).flatten(2).transpose(1, 2)  # (B, C, h, w) -> (B, h * w, C)
            embedded = self.embed_norm(self.embed(cells).transpose(1, 2)).transpose(1, 2)
            open_units = embedded.mean(dim=1, keepdim=True) > 0
            each = self.classify(embedded * open_units)  # (B, h * w, classes)
            return each.transpose(1, 2).unflatten(2, x.shape[2:])


def initialise(module: nn.Module) -> None:
    """Published initialisation of one layer, for `nn.Module.apply`: norms stay at 1 and 0."""
    # Loaded here: timm takes longer than torch, and finished networks need none of it.
    from timm.layers import trunc_normal_

    if isinstance(module, nn.Conv2d | nn.Linear):
        trunc_normal_(module.weight, std=0.02 if isinstance(module, nn.Conv2d) else 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
