"""Mean pooling, where every patch counts the same, and ABMIL, where attention says how much it counts."""

from __future__ import annotations

import torch
from torch import nn

from napari_hmkd.bags.packing import PackedBags, mean_within
from napari_hmkd.model.mkd.pathology import PatchBranch, PatchEmbedding
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


class Abmil(Baseline):
    """Mean of the embedded patches, weighted by gated attention, then a linear layer.

    Ilse, Tomczak, Welling, ICML 2018, arXiv 1802.04712, equations 7 and 9, on features of a frozen
    encoder. P of MKD is of the same kind, and half as wide.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.branch = PatchBranch(sizes.feature_dim, DROPOUT, WIDTH)
        self.classify = nn.Linear(WIDTH, sizes.classes)

    def forward(self, bags: PackedBags, genes: torch.Tensor | None) -> torch.Tensor:
        """Logits (b, classes); genes are not looked at."""
        embedding, _ = self.branch(bags)
        return self.classify(embedding)
