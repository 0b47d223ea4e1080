"""Scores of instances by gated attention."""

from __future__ import annotations

import torch
from torch import nn

HIDDEN = 128


class GatedAttention(nn.Module):
    """w^T (tanh(V h) * sigmoid(U h)): how much an instance is to count, before softmax.

    Ilse, Tomczak, Welling, ICML 2018, arXiv 1802.04712, equation 9; with biases.
    """

    def __init__(self, features: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.content = nn.Linear(features, hidden)
        self.gate = nn.Linear(features, hidden)
        self.score = nn.Linear(hidden, 1)

    def forward(self, instances: torch.Tensor) -> torch.Tensor:
        """(..., features) -> (...)."""
        gated = self.content(instances).tanh() * self.gate(instances).sigmoid()
        return self.score(gated).squeeze(-1)
