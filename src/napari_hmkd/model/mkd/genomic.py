"""G, a teacher of MKD: a gene vector to a status."""

from __future__ import annotations

import torch
from torch import nn

from napari_hmkd.model.mkd.gated_attention import GatedAttention
from napari_hmkd.model.mkd.outputs import EMBEDDING, MkdOutput

DROPOUT = 0.25
TOKEN_GENES = 512


class GeneBranch(nn.Module):
    """Linear, ELU and alpha dropout on each token of genes, then their mean weighted by attention."""

    def __init__(self, token_genes: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(token_genes, EMBEDDING), nn.ELU(), nn.AlphaDropout(DROPOUT)
        )
        self.attention = GatedAttention(EMBEDDING)

    def forward(self, genes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(b, tokens, token_genes) -> embedding (b, 256) and attention (b, tokens)."""
        tokens = self.embed(genes)
        scores = self.attention(tokens)
        dtype = torch.promote_types(scores.dtype, torch.float32)
        attention = scores.softmax(dim=1, dtype=dtype)
        return (attention[..., None] * tokens).sum(dim=1), attention


class GenomicNetwork(nn.Module):
    """Genomics-specific network."""

    def __init__(self, token_genes: int, classes: int) -> None:
        super().__init__()
        self.branch = GeneBranch(token_genes)
        self.classify = nn.Linear(EMBEDDING, classes)

    def forward(self, genes: torch.Tensor) -> MkdOutput:
        """Judge cases by their genes, (b, tokens, token_genes)."""
        embedding, attention = self.branch(genes)
        return MkdOutput(self.classify(embedding), embedding, attention)


def build_genomic_network(*, token_genes: int = TOKEN_GENES, classes: int = 2) -> GenomicNetwork:
    """G with fresh weights, for tokens of `token_genes` genes and `classes` logits."""
    return GenomicNetwork(token_genes, classes)
