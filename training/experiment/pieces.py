"""Run one piece in a process of its own, with its words in a file; later, let it grade the test."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.device import choose_device
from napari_hmkd.errors import ModelError
from napari_hmkd.training.config import (
    AugmentSettings,
    EngineSettings,
    ExportSettings,
    Labels,
    OptimiserName,
    OptimiserSettings,
    ParallelComputeSettings,
    SplitSettings,
    StoredDataSettings,
    TrainSettings,
)
from napari_hmkd.training.experiment.plan import Piece, Size
from napari_hmkd.training.piecework import deadline_of, own_words
from napari_hmkd.training.run import write_json
from napari_hmkd.training.scores.files import EVALUATION_FILE
from napari_hmkd.training.sources.opening import PROCEDURAL
from napari_hmkd.training.sources.procedural import ProceduralSource

WARMUP_EPOCHS = 0.5
# Drawn patients differ in their stains as it is, and jitter takes a sixth of a step on a CPU.
AUGMENT = AugmentSettings(stain_jitter=0.0)
TEST_BATCH_SIZE = 32
FAILED_KAPPA = -1.0
"""Validation score of a piece whose training ended in an error: worse than any other."""


@dataclass(frozen=True)
class Place:
    """Where the experiment lives and computes; `threads` is each process's share of the CPU."""

    folder: Path
    device: str
    threads: int

    def run(self, piece: Piece) -> Path:
        """A piece's run folder."""
        return self.folder / "runs" / piece.name

    def weights(self, piece: Piece) -> Path:
        """A finished piece's model."""
        return self.run(piece) / f"{piece.role}.safetensors"

    def outcome(self, piece: Piece) -> Path:
        """What is written last: the validation score, or why there is none."""
        return self.folder / "outcomes" / f"{piece.name}.json"

    def tiles(self) -> StoredDataSettings:
        """The cache that all pieces share."""
        return StoredDataSettings(cache=self.folder / "tiles")


def settings_of(piece: Piece, size: Size, place: Place) -> TrainSettings:
    """A piece's settings, which are those of `napari-hmkd-train` with the same values."""
    is_teacher = piece.method is None
    rate = size.teacher_rate if is_teacher else size.student_rate * piece.rate_factor
    return TrainSettings(
        cohort=size.train_cohort,
        data=replace(place.tiles(), labels=piece.labels),
        split=SplitSettings(
            validation_share=size.validation_share,
            calibration_share=size.calibration_share,
            test_share=0.0,
        ),
        augment=AUGMENT,
        distillation=piece.settings,
        optimiser=OptimiserSettings(
            optimiser=OptimiserName.ADAMW, learning_rate=rate, warmup_epochs=WARMUP_EPOCHS
        ),
        engine=EngineSettings(
            epochs=size.teacher_epochs if is_teacher else size.student_epochs,
            seed=piece.seed,
            recompute=False,
        ),
        compute=ParallelComputeSettings(device=place.device),
        export=ExportSettings(width=size.width, name=piece.name),
    )


def train_piece(piece: Piece, size: Size, place: Place, stop_at: float) -> bool:
    """Train a piece, or go on with it; False where the clock (`time.time`) said stop first.

    A network that answers nothing finite is the outcome of its settings: they lose, the rest goes on.
    """
    from napari_hmkd.training.workflow import train

    if time.time() >= stop_at:
        return False
    out, guide = place.run(piece), piece.teacher
    with _own_words(piece, place):
        try:
            weights = train(
                PROCEDURAL,
                out,
                settings_of(piece, size, place),
                role=piece.role,
                teacher=place.weights(guide) if guide else None,
                resume=True,
                deadline=deadline_of(stop_at),
            )
        except ModelError as error:
            write_json(
                place.outcome(piece), {"validation_kappa": FAILED_KAPPA, "error": str(error)}
            )
            return True
    if weights is None:
        return False
    fit = json.loads((out / EVALUATION_FILE).read_text(encoding="utf-8"))["fit"]
    write_json(place.outcome(piece), {"validation_kappa": fit["best_validation_score"], **fit})
    return True


def grade_test(piece: Piece, size: Size, place: Place, stop_at: float) -> bool:
    """Grade the test patients with a finished piece; False where it is too late to begin."""
    from napari_hmkd.training.data import PairDataset
    from napari_hmkd.training.graders import load_grader, predict_logits
    from napari_hmkd.training.store import open_store

    if time.time() >= stop_at:
        return False
    with _own_words(piece, place):
        source = ProceduralSource(size.test_cohort, Labels.TILE)
        store = open_store(source, place.tiles())
        dataset = PairDataset(store, source.tiles, np.arange(len(source.tiles)))
        grader = load_grader(place.weights(piece), piece.role)
        device = choose_device(place.device)
        grades = predict_logits(grader, dataset, TEST_BATCH_SIZE, device).argmax(1)
    write_json(grades_file(piece, place), grades.tolist())
    return True


def grades_file(piece: Piece, place: Place) -> Path:
    """A piece's grades of the test tiles, in the order of the cohort."""
    return place.folder / "test" / f"{piece.name}.json"


def read_grades(piece: Piece, place: Place) -> NDArray[np.intp]:
    """(n,) grades that `grade_test` has written."""
    return np.array(json.loads(grades_file(piece, place).read_text(encoding="utf-8")), np.intp)


def validation_kappa(piece: Piece, place: Place) -> float:
    """The validation score that picked a finished piece's checkpoint."""
    outcome = json.loads(place.outcome(piece).read_text(encoding="utf-8"))
    return float(outcome["validation_kappa"])


def _own_words(piece: Piece, place: Place) -> contextlib.AbstractContextManager[None]:
    for folder in ("outcomes", "test"):
        (place.folder / folder).mkdir(parents=True, exist_ok=True)
    return own_words(place.folder / "logs" / f"{piece.name}.txt", place.threads)
