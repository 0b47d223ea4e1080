"""P, the student of MKD: a bag of patches to a status."""

from __future__ import annotations

import torch
from torch import nn

from napari_hmkd.bags.packing import PackedBags, softmax_within, sum_within
from napari_hmkd.model.mkd.gated_attention import HIDDEN, GatedAttention
from napari_hmkd.model.mkd.outputs import EMBEDDING, MkdOutput

DROPOUT = 0.25
FEATURES = 1024


class PatchEmbedding(nn.Sequential):
    """Linear, ReLU and dropout on each patch."""

    def __init__(self, feature_dim: int, width: int, dropout: float) -> None:
        # A batch has hundreds of thousands of patches: what can be done in place is.
        layers = [nn.Linear(feature_dim, width), nn.ReLU(inplace=True)]
        super().__init__(*layers, *([nn.Dropout(dropout)] if dropout else []))
        self.feature_dim = feature_dim

    def forward(self, bags: PackedBags) -> torch.Tensor:
        """(sum n, width), not negative.

        Raises
        ------
        ValueError
            If the features have another dimension.
        """
        return super().forward(bags.features_of(self.feature_dim))


class PatchBranch(nn.Module):
    """Embedded patches, then the bag's mean weighted by gated attention."""

    def __init__(
        self, feature_dim: int, dropout: float, width: int = EMBEDDING, hidden: int = HIDDEN
    ) -> None:
        super().__init__()
        self.embed = PatchEmbedding(feature_dim, width, dropout)
        self.attention = GatedAttention(width, hidden)

    def forward(self, bags: PackedBags) -> tuple[torch.Tensor, torch.Tensor]:
        """Embedding (b, width) and attention (sum n,) of packed bags.

        Raises
        ------
        ValueError
            If the features have another dimension.
        """
        return self.pool(self.embed(bags), bags)

    def pool(self, patches: torch.Tensor, bags: PackedBags) -> tuple[torch.Tensor, torch.Tensor]:
        """`forward` of embedded patches (sum n, width)."""
        attention = softmax_within(self.attention(patches), bags)
        return sum_within(patches, bags, attention), attention


class PathologyNetwork(nn.Module):
    """Pathology-specific network, the one that works without genes."""

    def __init__(self, feature_dim: int, classes: int) -> None:
        super().__init__()
        self.branch = PatchBranch(feature_dim, dropout=0)
        self.dropout = nn.Dropout(DROPOUT)
        self.classify = nn.Linear(EMBEDDING, classes)

    def forward(self, bags: PackedBags) -> MkdOutput:
        """Judge cases by their bags, b at a time.

        Raises
        ------
        ValueError
            If the features have another dimension.
        """
        embedding, attention = self.branch(bags)
        return MkdOutput(self.classify(self.dropout(embedding)), embedding, attention)


def build_pathology_network(*, feature_dim: int = FEATURES, classes: int = 2) -> PathologyNetwork:
    """P with fresh weights, for features of `feature_dim` and `classes` logits."""
    return PathologyNetwork(feature_dim, classes)
