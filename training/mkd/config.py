"""Settings of MKD, one frozen dataclass per group; the defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import (
    LARGEST_WEIGHT,
    MOST_EPOCHS,
    MOST_SEED,
    SMALLEST_RATE,
    ComputeSettings,
    TrainerSettings,
)
from napari_hmkd.training.fields import option, require

FEWEST_FOLDS = 3  # one to test on, one to validate on, one to train on
TERMS = ("cross_entropy", "coral", "orthogonality", "similarity", "collaborative")


@dataclass(frozen=True)
class MkdSettings:
    """Weights of the loss of MKD; a term of weight 0 is not computed."""

    cross_entropy: float = option(1.0, "Weight of the cross entropy of the three networks.")
    coral: float = option(1.0, "Weight of the alignment of means and covariances.")
    orthogonality: float = option(1.0, "Weight of the orthogonality of the three embeddings.")
    similarity: float = option(1.0, "Weight of the similarity of cases, P to M and P to G.")
    collaborative: float = option(
        1.0, "Weight of the mutual KL divergences, P with M and P with G."
    )
    temperature: float = option(4.0, "Temperature T of the KL divergences, scaled by T^2.")

    def __post_init__(self) -> None:
        """Refuse weights that train nothing."""
        for name in TERMS:
            require(name, getattr(self, name), 0, LARGEST_WEIGHT)
        if not any(getattr(self, name) for name in TERMS):
            raise DataError("all loss weights are 0: one must be above 0")
        require("temperature", self.temperature, 0.01, 1000)


@dataclass(frozen=True)
class GeneSettings:
    """Which genes the networks see; chosen anew on the training part of each fold."""

    top_genes: int = option(8192, "Genes kept: of the largest variance, or first in --ranking.")
    exclude_genes: str = option(
        "", "Genes never seen, as ERBB2,GRB7: HER2 status can be read off ERBB2."
    )
    ranking: Path | None = option(
        None, "File with a gene per line, best first, in place of the variance."
    )
    token_genes: int = option(512, "Genes in a token.")

    def __post_init__(self) -> None:
        """Refuse a vector without genes."""
        require("top_genes", self.top_genes, 1)
        require("token_genes", self.token_genes, 1)

    @property
    def excluded(self) -> tuple[str, ...]:
        """The names in `exclude_genes`."""
        return tuple(name.strip() for name in self.exclude_genes.split(",") if name.strip())


@dataclass(frozen=True)
class FoldSettings:
    """Patient-grouped cross-validation with nested validation: 64/16/20 % at 5 folds."""

    folds: int = option(5, "Number of folds, 3 or more; each tests once.")
    fold_seed: int = option(0, "Seed of the folds.")

    def __post_init__(self) -> None:
        """Refuse folds without training cases."""
        require("folds", self.folds, FEWEST_FOLDS)
        require("fold_seed", self.fold_seed, 0, MOST_SEED)


@dataclass(frozen=True)
class AdamWSettings:
    """AdamW under a cosine that falls to 0 in `cosine_epochs` and rises again after them."""

    learning_rate: float = option(2e-4, "Peak learning rate.")
    weight_decay: float = option(1e-5, "Weight decay.")
    cosine_epochs: int = option(50, "Epochs until the cosine is at 0 (T_max); then it rises again.")

    def __post_init__(self) -> None:
        """Refuse rates that cannot train."""
        require("learning_rate", self.learning_rate, SMALLEST_RATE, 100)
        require("weight_decay", self.weight_decay, 0, 100)
        require("cosine_epochs", self.cosine_epochs, 1, MOST_EPOCHS)


@dataclass(frozen=True)
class CaseTrainerSettings(TrainerSettings):
    """How long and in which arithmetic."""

    epochs: int = option(100, "Most passes over the training cases.")
    seed: int = option(0, "Seed of weights, sampling and dropout.")
    gradient_clip: float = option(0.0, "Largest norm of the gradient; 0: no clipping.")
    patience: int = option(
        20, "Stop after so many epochs without a better validation AUC; 0: never."
    )


@dataclass(frozen=True)
class CaseComputeSettings(ComputeSettings):
    """Where to compute, and how cases are read."""

    batch_size: int = option(16, "Cases in a step, each a whole bag.")
    workers: int = option(2, "Threads that read bags ahead.")
    memory_gb: float = option(8.0, "Most memory for bags kept, in GB.")

    def __post_init__(self) -> None:
        """Refuse batches that have no covariance."""
        require("batch_size", self.batch_size, 2)
        require("workers", self.workers, 1)
        require("memory_gb", self.memory_gb, 0)


@dataclass(frozen=True)
class MkdRunSettings:
    """All groups of settings of one run."""

    mkd: MkdSettings = field(default_factory=MkdSettings)
    genes: GeneSettings = field(default_factory=GeneSettings)
    folds: FoldSettings = field(default_factory=FoldSettings)
    optimiser: AdamWSettings = field(default_factory=AdamWSettings)
    engine: CaseTrainerSettings = field(default_factory=CaseTrainerSettings)
    compute: CaseComputeSettings = field(default_factory=CaseComputeSettings)
