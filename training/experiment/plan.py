"""What is trained, in which order: two kinds of labels, three seeds, six ways to a student."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from napari_hmkd.training.config import (
    CohortSettings,
    DistillationSettings,
    Labels,
    Method,
    Reduction,
)

SEEDS = (0, 1, 2)
RIVALS = (
    Method.FITNETS,
    Method.ATTENTION_TRANSFER,
    Method.SIMILARITY,
    Method.RELATIONAL,
    Method.DECOUPLED,
    Method.DIST,
)
# What could hold HM-KD back: the scale of a term, the sum over the batch, the learning rate.
VARIANTS: dict[str, dict[str, Any]] = {
    "attention-0.1": {"attention": 0.1},
    "cosine-0.1": {"cosine": 0.1},
    "cosine-sum": {"cosine_reduction": Reduction.SUM},
    "rate-half": {"rate_factor": 0.5},
}


@dataclass(frozen=True)
class Size:
    """Numbers of one size of the experiment.

    Training and test patients come from cohorts of different seeds, so none is shared; of the
    training cohort, shares of patients are held out for validation and calibration.
    """

    train_cohort: CohortSettings
    test_cohort: CohortSettings
    width: float
    teacher_epochs: int
    student_epochs: int
    teacher_rate: float = 5e-4
    student_rate: float = 7e-4
    validation_share: float = 0.2
    calibration_share: float = 0.1


FULL = Size(
    train_cohort=CohortSettings(seed=21, patients=120, tiles_per_patient=12, tile_px=512),
    test_cohort=CohortSettings(seed=22, patients=80, tiles_per_patient=12, tile_px=512),
    width=0.5,
    teacher_epochs=5,
    student_epochs=10,
)
QUICK = Size(
    train_cohort=CohortSettings(seed=21, patients=100, tiles_per_patient=12, tile_px=256),
    test_cohort=CohortSettings(seed=22, patients=80, tiles_per_patient=12, tile_px=256),
    width=0.5,
    teacher_epochs=5,
    student_epochs=6,
)


@dataclass(frozen=True)
class Piece:
    """One training run; `teacher` names the piece that must be finished before."""

    labels: Labels
    seed: int
    method: Method | None = None
    """None: this piece is a teacher."""
    variant: str = ""
    """One of `VARIANTS`, or nothing."""
    settings: DistillationSettings = field(default_factory=DistillationSettings)

    @property
    def approach(self) -> str:
        """The piece without labels and seed, e.g. `teacher`, `hinton`, `hmkd-cosine-sum`."""
        if self.method is None:
            return "teacher"
        return f"{self.method}-{self.variant}" if self.variant else str(self.method)

    @property
    def name(self) -> str:
        """Name of the piece's run folder."""
        return f"{self.labels}-{self.approach}-seed{self.seed}"

    @property
    def teacher(self) -> str | None:
        """Name of the teacher's run folder, of the same labels and seed."""
        if self.method in (None, Method.NONE):
            return None
        return Piece(self.labels, self.seed).name

    @property
    def rate_factor(self) -> float:
        """Factor on the learning rate."""
        return float(VARIANTS.get(self.variant, {}).get("rate_factor", 1.0))


def student(labels: Labels, seed: int, method: Method, variant: str = "") -> Piece:
    """A student's piece."""
    changes = {k: v for k, v in VARIANTS.get(variant, {}).items() if k != "rate_factor"}
    return Piece(labels, seed, method, variant, DistillationSettings(method=method, **changes))


def teachers() -> list[Piece]:
    """A teacher for each kind of labels and seed."""
    return [Piece(labels, seed) for labels in Labels for seed in SEEDS]


def first_students() -> list[Piece]:
    """Students for each seed that need no choice, and for the first seed those to choose from."""
    sure = [
        student(labels, seed, method)
        for labels in Labels
        for seed in SEEDS
        for method in (Method.NONE, Method.HINTON, Method.HMKD)
    ]
    return sure + [piece for labels in Labels for piece in candidates(labels)]


def candidates(labels: Labels) -> list[Piece]:
    """What validation chooses from: rivals, and variants of HM-KD, for the first seed."""
    rivals = [student(labels, SEEDS[0], method) for method in RIVALS]
    return rivals + [student(labels, SEEDS[0], Method.HMKD, name) for name in VARIANTS]


def other_seeds(chosen: Piece) -> list[Piece]:
    """A chosen candidate with the seeds that it was not chosen by."""
    assert chosen.method is not None
    return [student(chosen.labels, seed, chosen.method, chosen.variant) for seed in SEEDS[1:]]
