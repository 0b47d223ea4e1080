"""The hybrid token mixer: one half of the channels looks nearby, the other everywhere."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.device import own_kernels
from napari_hmkd.model.blocks import DepthwiseConv, Mlp, PatchEmbedding, SeparableConv, in_halves
from napari_hmkd.model.gather import gather
from napari_hmkd.model.planes import MAPS, AttentionPlanes
from napari_hmkd.model.precision import float32_island
from napari_hmkd.model.recording import is_recorded
from napari_hmkd.model.sharing import beside

KERNELS = (1, 3, 5, 7)


class MultiScaleConv(nn.Module):
    """Depthwise convolution of four channel groups with kernels 1, 3, 5 and 7.

    The groups are equal; the first also takes the channels that remain.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        share = channels // len(KERNELS)
        if share < 1:
            raise ValueError(
                f"a multi-scale convolution needs at least {len(KERNELS)} channels, one for each "
                f"kernel, got {channels}: choose a larger width"
            )
        self.groups = (channels - share * (len(KERNELS) - 1), *[share] * (len(KERNELS) - 1))
        self.scales = nn.ModuleList(
            DepthwiseConv(group, kernel) for group, kernel in zip(self.groups, KERNELS, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same shape."""
        if is_recorded() or not (x.is_cuda or (x.is_cpu and not torch.is_grad_enabled())):
            parts = x.split(self.groups, dim=1)
            layers = zip(self.scales, parts, strict=True)
            return torch.cat([conv(part) for conv, part in layers], dim=1)
        # All in one, with kernels as large as the largest. On a CPU calls cost most of the time, and this
        # takes half of it; on a GPU torch's own kernels go tile by tile where a group is of one channel.
        largest = max(KERNELS)
        kernels, biases = [], []
        for conv, kernel in zip(self.scales, KERNELS, strict=True):
            assert isinstance(conv, DepthwiseConv)
            assert conv.bias is not None
            kernels.append(functional.pad(conv.weight, [(largest - kernel) // 2] * 4))
            biases.append(conv.bias)
        with own_kernels(x.device):
            return functional.conv2d(
                x, torch.cat(kernels), torch.cat(biases), padding=largest // 2, groups=x.shape[1]
            )


class LocalUnit(nn.Module):
    """The half that looks nearby: a bottleneck around a residual multi-scale convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.activation = nn.GELU()
        self.reduce_norm = nn.BatchNorm2d(hidden)
        self.multi_scale = MultiScaleConv(hidden)
        self.scale_norm = nn.BatchNorm2d(hidden)
        self.expand = nn.Conv2d(hidden, channels, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same shape."""
        x = self.reduce_norm(self.activation(self.reduce(x)))
        x = self.scale_norm(self.activation(x + self.multi_scale(x)))
        return self.expand_norm(self.expand(x))


class GlobalUnit(nn.Module):
    """The half that looks everywhere: attention with four maps and one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = SeparableConv(channels, MAPS * channels)
        self.key = SeparableConv(channels, MAPS * channels)
        self.value = SeparableConv(channels, channels)
        self.planes = AttentionPlanes()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same shape, float32."""
        return gather(self.planes, self.query(x), self.key(x), self.value(x))[0]


class Bottleneck(nn.Sequential):
    """Depthwise 3x3, then through an eighth of the channels (at least 16) and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(16, channels // 8)
        self.depthwise = DepthwiseConv(channels, 3)
        self.depthwise_norm = nn.BatchNorm2d(channels)
        self.depthwise_activation = nn.GELU()
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.reduce_norm = nn.BatchNorm2d(hidden)
        self.reduce_activation = nn.GELU()
        self.expand = nn.Conv2d(hidden, channels, 1)
        self.expand_norm = nn.BatchNorm2d(channels)


class Mixer(nn.Module):
    """Local and global half side by side, then a residual bottleneck over both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local_unit = LocalUnit(channels // 2)
        self.global_unit = GlobalUnit(channels // 2)
        self.bottleneck = Bottleneck(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same shape."""
        nearby, everywhere = x.chunk(2, dim=1)  # each (B, C / 2, h, w)
        everywhere, nearby = beside(
            partial(self.global_unit, everywhere), partial(self.local_unit, nearby)
        )
        x = torch.cat([nearby, everywhere], dim=1)
        with float32_island(x):
            return x + self.bottleneck(x)


class Block(nn.Module):
    """Position, mixer and MLP, each added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.position = DepthwiseConv(channels, 7)
        self.mixer_norm = nn.BatchNorm2d(channels)
        self.mixer = Mixer(channels)
        self.mlp_norm = nn.BatchNorm2d(channels)
        self.mlp = Mlp(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same shape."""
        with float32_island(x):
            x = x + self.position(x)
        x = x + self.mixer(self.mixer_norm(x))
        return in_halves(lambda rows: rows + self.mlp(self.mlp_norm(rows)), x)


class Stage(nn.Sequential):
    """Patch embedding followed by blocks."""

    def __init__(self, inputs: int, channels: int, patch_px: int, depth: int) -> None:
        super().__init__()
        self.embedding = PatchEmbedding(inputs, channels, patch_px)
        self.blocks = nn.Sequential(*[Block(channels) for _ in range(depth)])
