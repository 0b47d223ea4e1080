"""SNN, a self-normalising network of the genes, alone and beside the tissue."""

from __future__ import annotations

import torch
from torch import nn

from napari_hmkd.bags.packing import PackedBags
from napari_hmkd.model.mkd.pathology import PatchBranch
from napari_hmkd.training.mkd.baselines.base import DROPOUT, WIDTH, Baseline, Sizes

HIDDEN = 256


class GeneLayers(nn.Module):
    """All genes of a case as one vector, then two self-normalising layers.

    Klambauer, Unterthiner, Mayr, Hochreiter, NeurIPS 2017, arXiv 1706.02515: SELU, alpha dropout
    and weights of variance 1 / inputs. Layers and sizes are those that Chen, Lu, Wang et al. use for
    omics, IEEE TMI 2020, doi 10.1109/TMI.2020.3021387.
    """

    def __init__(self, tokens: int, token_genes: int) -> None:
        super().__init__()
        self.shape = (tokens, token_genes)
        self.layers = nn.Sequential()
        for inputs in (tokens * token_genes, HIDDEN):
            linear = nn.Linear(inputs, HIDDEN)
            nn.init.normal_(linear.weight, std=inputs**-0.5)
            nn.init.zeros_(linear.bias)
            self.layers.extend([linear, nn.SELU(), nn.AlphaDropout(DROPOUT)])

    def forward(self, genes: torch.Tensor | None) -> torch.Tensor:
        """(b, tokens, token_genes) -> (b, 256).

        Raises
        ------
        ValueError
            If there are none, or of another shape.
        """
        if genes is None or genes.shape[1:] != self.shape:
            found = None if genes is None else tuple(genes.shape)
            wanted = f"{self.shape[0]} tokens of {self.shape[1]} genes"
            raise ValueError(f"the network takes {wanted} for each case, got {found}")
        return self.layers(genes.flatten(1))


class Snn(Baseline):
    """Genes alone."""

    needs_genes = True

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.genes = GeneLayers(sizes.tokens, sizes.token_genes)
        self.classify = nn.Linear(HIDDEN, sizes.classes)

    def forward(self, bags: PackedBags, genes: torch.Tensor | None) -> torch.Tensor:
        """Logits (b, classes); bags are not looked at."""
        return self.classify(self.genes(genes))


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
