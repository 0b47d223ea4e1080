"""M, a teacher of MKD: a bag of patches and a gene vector to a status."""

from __future__ import annotations

import torch
from torch import nn

from napari_hmkd.bags.packing import PackedBags
from napari_hmkd.model.mkd.fusion import GatedKroneckerFusion
from napari_hmkd.model.mkd.genomic import TOKEN_GENES, GeneBranch
from napari_hmkd.model.mkd.outputs import EMBEDDING, MkdOutput
from napari_hmkd.model.mkd.pathology import DROPOUT, FEATURES, PatchBranch


class MultimodalNetwork(nn.Module):
    """Modality-general network, with branches of its own for tissue and genes."""

    def __init__(self, feature_dim: int, token_genes: int, classes: int) -> None:
        super().__init__()
        self.patches = PatchBranch(feature_dim, dropout=DROPOUT)
        self.genes = GeneBranch(token_genes)
        self.fusion = GatedKroneckerFusion()
        self.classify = nn.Linear(EMBEDDING, classes)

    def forward(self, bags: PackedBags, genes: torch.Tensor) -> MkdOutput:
        """Judge cases by their bags and their genes (b, tokens, token_genes).

        The attention is that over the patches.

        Raises
        ------
        ValueError
            If the features have another dimension.
        """
        tissue, attention = self.patches(bags)
        embedding = self.fusion(tissue, self.genes(genes)[0])
        return MkdOutput(self.classify(embedding), embedding, attention)


def build_multimodal_network(
    *, feature_dim: int = FEATURES, token_genes: int = TOKEN_GENES, classes: int = 2
) -> MultimodalNetwork:
    """M with fresh weights."""
    return MultimodalNetwork(feature_dim, token_genes, classes)
