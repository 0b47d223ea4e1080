"""Mean pooling: every patch counts the same."""

from __future__ import annotations

import torch
from torch import nn

from napari_hmkd.bags.packing import PackedBags, mean_within
from napari_hmkd.model.mkd.pathology import PatchEmbedding
from napari_hmkd.training.mkd.baselines.base import DROPOUT, WIDTH, Baseline, Sizes


class MeanPooling(Baseline):
    """The mean of the embedded patches, then a linear layer.

    "Embedded, mean" of Ilse, Tomczak, Welling, ICML 2018, arXiv 1802.04712: `Abmil` without
    attention.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.embed = PatchEmbedding(sizes.feature_dim, WIDTH, DROPOUT)
        self.classify = nn.Linear(WIDTH, sizes.classes)

    def forward(self, bags: PackedBags, genes: torch.Tensor | None) -> torch.Tensor:
        """Logits (b, classes); genes are not looked at."""
        return self.classify(mean_within(self.embed(bags), bags))
