"""Run one piece in a process of its own, with its words in a file."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from napari_hmkd.training.config import (
    ComputeSettings,
    DataSettings,
    EngineSettings,
    ExportSettings,
    OptimiserName,
    OptimiserSettings,
    SplitSettings,
    TrainSettings,
)
from napari_hmkd.training.experiment.plan import Piece, Size
from napari_hmkd.training.sources.opening import PROCEDURAL

WARMUP_EPOCHS = 0.5


@dataclass(frozen=True)
class Place:
    """Where the experiment lives and computes; `threads` is each process's share of the CPU."""

    folder: Path
    device: str
    threads: int

    def run(self, name: str) -> Path:
        """A piece's run folder."""
        return self.folder / "runs" / name

    def tiles(self) -> Path:
        """The cache that all pieces share."""
        return self.folder / "tiles"


def settings_of(piece: Piece, size: Size, place: Place) -> TrainSettings:
    """A piece's settings, which are those of `napari-hmkd-train` with the same values."""
    is_teacher = piece.method is None
    rate = size.teacher_rate if is_teacher else size.student_rate * piece.rate_factor
    return TrainSettings(
        cohort=size.train_cohort,
        data=DataSettings(labels=piece.labels, cache=place.tiles()),
        split=SplitSettings(
            validation_share=size.validation_share,
            calibration_share=size.calibration_share,
            test_share=0.0,
        ),
        distillation=piece.settings,
        optimiser=OptimiserSettings(
            optimiser=OptimiserName.ADAMW, learning_rate=rate, warmup_epochs=WARMUP_EPOCHS
        ),
        engine=EngineSettings(
            epochs=size.teacher_epochs if is_teacher else size.student_epochs,
            seed=piece.seed,
            recompute=False,
        ),
        compute=ComputeSettings(device=place.device),
        export=ExportSettings(width=size.width, name=piece.name),
    )


def run_piece(piece: Piece, size: Size, place: Place, stop_at: float) -> bool:
    """Train a piece, or go on with it; False where the clock (`time.time`) said stop first."""
    from napari_hmkd.training.workflow import train

    if time.time() >= stop_at:
        return False
    torch.set_num_threads(place.threads)
    out = place.run(piece.name)
    log = place.folder / "logs" / f"{piece.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stderr(file),
        threadpool_limits(place.threads),
    ):
        weights = train(
            PROCEDURAL,
            out,
            settings_of(piece, size, place),
            role="teacher" if piece.method is None else "student",
            teacher=weights_of(piece.teacher, place) if piece.teacher else None,
            resume=True,
            deadline=time.monotonic() + stop_at - time.time(),
        )
    return weights is not None


def weights_of(name: str, place: Place) -> Path:
    """The finished model of a piece's run folder."""
    role = "teacher" if "-teacher-" in name else "student"
    return place.run(name) / f"{role}.safetensors"


def is_finished(piece: Piece, place: Place) -> bool:
    """Whether a piece has written its last file."""
    return (place.run(piece.name) / "evaluation.json").is_file()


def validation_kappa(piece: Piece, place: Place) -> float:
    """The validation score that picked a finished piece's checkpoint."""
    text = (place.run(piece.name) / "evaluation.json").read_text(encoding="utf-8")
    return float(json.loads(text)["fit"]["best_validation_kappa"])
