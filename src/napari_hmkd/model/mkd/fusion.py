"""What tissue and genes say together: their gated Kronecker product."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.model.mkd.outputs import EMBEDDING
from napari_hmkd.model.precision import float32_island

DROPOUT = 0.25
GATED = 32


class GatedReduction(nn.Module):
    """One modality's vector in 32 values, gated by what both modalities say, and a constant 1."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Linear(EMBEDDING, GATED)
        self.gate = nn.Bilinear(EMBEDDING, EMBEDDING, GATED)
        self.mix = nn.Linear(GATED, GATED)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, own: torch.Tensor, tissue: torch.Tensor, genes: torch.Tensor) -> torch.Tensor:
        """`own` is one of `tissue` and `genes`, (b, 256) each; the result is (b, 33)."""
        gated = self.gate(tissue, genes).sigmoid() * self.reduce(own).relu()
        mixed = self.dropout(self.mix(gated).relu())
        # Through the 1 the product holds each modality alone, beside their interactions.
        return functional.pad(mixed, (0, 1), value=1.0)


class GatedKroneckerFusion(nn.Module):
    """Two vectors to one of the same length.

    Chen, Lu, Wang et al., "Pathomic Fusion", IEEE TMI 2020, doi 10.1109/TMI.2020.3021387, in the
    sizes of METHOD.md section 2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tissue, self.genes = GatedReduction(), GatedReduction()
        self.dropout = nn.Dropout(DROPOUT)
        self.product = nn.Linear((GATED + 1) ** 2, EMBEDDING)
        self.join = nn.Linear(3 * EMBEDDING, EMBEDDING)

    def forward(self, tissue: torch.Tensor, genes: torch.Tensor) -> torch.Tensor:
        """Fuse (b, 256) and (b, 256) into (b, 256), not negative."""
        # Autocast does not know bilinear forms, and vectors of cases cost little.
        with float32_island(tissue):
            return self._fuse(*(x.to(self.join.weight.dtype) for x in (tissue, genes)))

    def _fuse(self, tissue: torch.Tensor, genes: torch.Tensor) -> torch.Tensor:
        a, b = self.tissue(tissue, tissue, genes), self.genes(genes, tissue, genes)
        outer = self.dropout((a[:, :, None] * b[:, None, :]).flatten(1))
        product = self.dropout(self.product(outer).relu())
        joined = torch.cat([product, tissue, genes], dim=1)
        return self.dropout(self.join(joined).relu())
