"""TransMIL: patches look at each other."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from napari_hmkd.bags.packing import PackedBags
from napari_hmkd.model.mkd.pathology import PatchEmbedding
from napari_hmkd.training.mkd.baselines.base import WIDTH, Baseline, Sizes
from napari_hmkd.training.mkd.baselines.nystrom import NystromAttention


class TransMil(Baseline):
    """Two layers of self-attention with position encoding between, read out at a class token.

    Shao, Bian, Chen et al., NeurIPS 2021, arXiv 2106.00908. Patches lie on a square in the order in
    which they are given. It goes bag by bag: a square, landmarks and attention are one bag's own.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.embed = PatchEmbedding(sizes.feature_dim, WIDTH, dropout=0)
        self.class_token = nn.Parameter(torch.randn(1, WIDTH))
        self.first, self.second = AttentionLayer(WIDTH), AttentionLayer(WIDTH)
        self.position = PositionEncoding(WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.classify = nn.Linear(WIDTH, sizes.classes)

    def forward(self, bags: PackedBags, genes: torch.Tensor | None) -> torch.Tensor:
        """Logits (b, classes); genes are not looked at."""
        patches = self.embed(bags).split(bags.sizes.tolist())
        return self.classify(torch.stack([self._summary(own) for own in patches]))

    def _summary(self, patches: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (width,) of one bag."""
        if not torch.is_grad_enabled():
            return self._read(patches)
        # A large bag takes 1 GB in between: computed again for the gradient, not kept for all bags.
        return checkpoint(self._read, patches, use_reentrant=False)

    def _read(self, patches: torch.Tensor) -> torch.Tensor:
        side = math.isqrt(len(patches) - 1) + 1  # the square root, rounded up
        square = torch.cat([patches, patches[: side**2 - len(patches)]])  # (side^2, width)
        tokens = self.first(torch.cat([self.class_token.to(square.dtype), square]))
        tokens = torch.cat([tokens[:1], self.position(tokens[1:], side)])
        return self.norm(self.second(tokens)[0])


class AttentionLayer(nn.Module):
    """Self-attention of normalised tokens, added to them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = NystromAttention(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (n, width)."""
        return tokens + self.attention(self.norm(tokens))


class PositionEncoding(nn.Module):
    """Pyramid position encoding: depthwise convolutions of three sizes over the square of tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
            for kernel in (7, 5, 3)
        )

    def forward(self, tokens: torch.Tensor, side: int) -> torch.Tensor:
        """(side * side, width) -> the same shape."""
        square = tokens.T.unflatten(1, (side, side))  # (width, side, side)
        for added in [scale(square[None])[0] for scale in self.scales]:
            square = square + added
        return square.flatten(1).T
