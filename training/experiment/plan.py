"""What is trained, in which order: two kinds of labels, three seeds, several ways to a student."""

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
DEFAULT = ""
RATE = "rate_factor"
# Besides its defaults, each approach of the main comparison has as many tries as the others; the
# best of them stands for the approach. Those of HM-KD ask what could hold it back: the rate, the
# scale of its largest term, the published sum.
VARIANTS: dict[Method, dict[str, dict[str, Any]]] = {
    Method.NONE: {"rate-half": {RATE: 0.5}, "rate-double": {RATE: 2.0}, "rate-triple": {RATE: 3.0}},
    Method.HINTON: {
        "rate-half": {RATE: 0.5},
        "temperature-2": {"temperature": 2.0},
        "weight-0.3": {"rival_weight": 0.3},
    },
    Method.HMKD: {
        "rate-half": {RATE: 0.5},
        "attention-0.1": {"attention": 0.1},
        "cosine-sum": {"cosine_reduction": Reduction.SUM},
    },
}


@dataclass(frozen=True)
class Size:
    """Numbers of one size of the experiment.

    Training and test patients come from cohorts of different seeds, so none is shared, and none of
    the seeds was looked at before: 1 and 2 made the demo weights, 3 and 21 prepared this experiment.
    Of the training cohort, shares of patients are held out for validation and calibration.
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
    train_cohort=CohortSettings(seed=33, patients=120, tiles_per_patient=12, tile_px=512),
    test_cohort=CohortSettings(seed=34, patients=80, tiles_per_patient=12, tile_px=512),
    width=0.5,
    teacher_epochs=8,
    student_epochs=12,
)
# Its test patients were seen on 2026-11-25 (training/README.md): whoever changes what is trained takes
# other seeds for them.
QUICK = Size(
    train_cohort=CohortSettings(seed=31, patients=100, tiles_per_patient=12, tile_px=256),
    test_cohort=CohortSettings(seed=32, patients=80, tiles_per_patient=12, tile_px=256),
    width=0.5,
    teacher_epochs=6,
    student_epochs=12,
)


@dataclass(frozen=True)
class Piece:
    """One training run."""

    labels: Labels
    seed: int
    method: Method | None = None
    """None: this piece is a teacher."""
    variant: str = DEFAULT
    """One of the method's `VARIANTS`, or its defaults."""
    settings: DistillationSettings = field(default_factory=DistillationSettings)
    rate_factor: float = 1.0
    """On the learning rate of `Size`."""

    @property
    def role(self) -> str:
        """Which network it trains."""
        return "teacher" if self.method is None else "student"

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
    def teacher(self) -> Piece | None:
        """The piece that has to be finished before: a teacher of the same labels and seed."""
        return None if self.method in (None, Method.NONE) else Piece(self.labels, self.seed)


def student(labels: Labels, seed: int, method: Method, variant: str = DEFAULT) -> Piece:
    """A student's piece."""
    changes = dict(VARIANTS[method][variant]) if variant else {}
    factor = changes.pop(RATE, 1.0)
    settings = DistillationSettings(method=method, **changes)
    return Piece(labels, seed, method, variant, settings, factor)


def teachers() -> list[Piece]:
    """A teacher for each kind of labels and seed."""
    return [Piece(labels, seed) for labels in Labels for seed in SEEDS]


def tries() -> list[list[Piece]]:
    """What validation chooses from: each approach's settings, and the rivals.

    With the tiles' labels and the first seed; what is chosen is then trained with all labels and seeds.
    """
    labels, first = Labels.TILE, SEEDS[0]
    own = [
        [student(labels, first, method, variant) for variant in (DEFAULT, *variants)]
        for method, variants in VARIANTS.items()
    ]
    return [*own, [student(labels, first, method) for method in RIVALS]]


def with_each_seed(labels: Labels, method: Method, variant: str = DEFAULT) -> list[Piece]:
    """One row of the table of results."""
    return [student(labels, seed, method, variant) for seed in SEEDS]
