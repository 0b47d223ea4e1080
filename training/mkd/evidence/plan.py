"""What the drawn cohort's evidence trains: each target, approach and seed; sizes fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from napari_hmkd.training.mkd.cohort.design import CohortDesign
from napari_hmkd.training.mkd.evidence.approaches import (
    ABMIL,
    FULL_MKD,
    P_ALONE,
    SNN,
    WITHOUT,
    Approach,
)

SEEDS = (0, 1, 2, 3, 4)
APPROACHES = (P_ALONE, ABMIL, FULL_MKD, *WITHOUT, SNN)
EMBEDDED = (P_ALONE, FULL_MKD, *WITHOUT)
"""Those whose embeddings are asked for the factors."""


@dataclass(frozen=True)
class Size:
    """Numbers of one size of the evidence.

    Attributes
    ----------
    design : CohortDesign
    test_patients : int
        The last ones of the cohort; the same for all seeds. Nothing is chosen by them.
    epochs, patience : int
        As for `mkd`.
    """

    design: CohortDesign
    test_patients: int
    epochs: int = 100
    patience: int = 20


QUICK = Size(CohortDesign(), test_patients=120)
FULL = Size(CohortDesign(seed=72, patients=1200, tiles_per_patient=24), test_patients=400)


@dataclass(frozen=True)
class Piece:
    """One training run."""

    target: str
    approach: Approach
    seed: int

    @property
    def name(self) -> str:
        """Name of its run folder."""
        return f"{self.target}-{self.approach.key}-seed{self.seed}"


def pieces(size: Size) -> list[Piece]:
    """All runs; a seed is complete before the next one begins."""
    return [
        Piece(target.name, approach, seed)
        for seed in SEEDS
        for target in size.design.targets
        for approach in APPROACHES
    ]
