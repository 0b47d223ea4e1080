"""What every baseline offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.bags.packing import PackedBags

WIDTH = 512
"""Of embedded patches, in the published programs of ABMIL's followers."""
DROPOUT = 0.25
PUBLISHED_TOKENS = 16


@dataclass(frozen=True)
class Sizes:
    """What goes into networks and comes out: `tokens` x `token_genes` genes, `classes` logits.

    The number of tokens matters to baselines that see genes; MKD's networks take any.
    """

    feature_dim: int
    token_genes: int
    classes: int
    tokens: int = PUBLISHED_TOKENS


class Baseline(nn.Module, ABC):
    """A network that judges cases, and the loss that its authors train it with.

    Parameters
    ----------
    sizes : Sizes
        What it is built for.

    Attributes
    ----------
    needs_genes : bool
        Whether it looks at genes.
    """

    needs_genes: ClassVar[bool] = False

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes

    @abstractmethod
    def forward(self, bags: PackedBags, genes: torch.Tensor | None) -> torch.Tensor:
        """Logits (b, classes).

        Parameters
        ----------
        bags : PackedBags
            Of b cases.
        genes : torch.Tensor, optional
            (b, tokens, token_genes).

        Raises
        ------
        ValueError
            If the sizes are others than it was built for, or it needs genes and got none.
        """

    def loss(
        self, bags: PackedBags, genes: torch.Tensor | None, labels: torch.Tensor
    ) -> torch.Tensor:
        """What is minimised, a scalar; labels are int64 (b,). Cross entropy, unless told otherwise."""
        return functional.cross_entropy(self(bags, genes), labels)
