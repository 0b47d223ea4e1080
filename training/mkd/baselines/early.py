"""Early concatenation: tissue and genes side by side."""

from __future__ import annotations

import torch
from torch import nn

from napari_hmkd.bags.packing import PackedBags
from napari_hmkd.model.mkd.pathology import PatchBranch
from napari_hmkd.training.mkd.baselines.base import DROPOUT, WIDTH, Baseline, Sizes
from napari_hmkd.training.mkd.baselines.snn import HIDDEN, GeneLayers


class EarlyConcatenation(Baseline):
    """The bag's vector of `Abmil` and the genes' of `Snn`, concatenated before the one classifier.

    The concatenation that Chen, Lu, Wang et al. compare their fusion with, IEEE TMI 2020,
    doi 10.1109/TMI.2020.3021387.
    """

    needs_genes = True

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.branch = PatchBranch(sizes.feature_dim, DROPOUT, WIDTH)
        self.genes = GeneLayers(sizes.tokens, sizes.token_genes)
        self.classify = nn.Linear(WIDTH + HIDDEN, sizes.classes)

    def forward(self, bags: PackedBags, genes: torch.Tensor | None) -> torch.Tensor:
        """Logits (b, classes)."""
        tissue, _ = self.branch(bags)
        return self.classify(torch.cat([tissue, self.genes(genes)], dim=1))
