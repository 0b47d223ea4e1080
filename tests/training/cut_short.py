"""A small run that tests cut short, and what must be equal once it has gone on."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

from napari_hmkd.training.config import (
    DistillationSettings,
    EngineSettings,
    ExportSettings,
    Method,
    ParallelComputeSettings,
    SplitSettings,
    StudentSettings,
    TrainSettings,
)
from napari_hmkd.training.workflow import train

EPOCHS = 2
SETTINGS = TrainSettings(
    split=SplitSettings(validation_share=0.2, calibration_share=0.2, test_share=0),
    student=StudentSettings(student="timm:test_resnet"),  # a tiny one
    distillation=DistillationSettings(method=Method.NONE),
    engine=EngineSettings(epochs=EPOCHS),
    compute=ParallelComputeSettings(batch_size=4, device="cpu"),
    export=ExportSettings(name="resumed"),
)
TIMES = ("waiting_share", "steps_per_second", "seconds")


def run(data: Path, out: Path, settings: TrainSettings = SETTINGS, **more: Any) -> Path | None:
    return train(str(data), out, settings, role="student", **more)


def one_epoch(data: Path, out: Path, settings: TrainSettings = SETTINGS, **more: Any) -> None:
    """Train until the deadline, which has passed already: one epoch."""
    assert run(data, out, settings, resume=True, deadline=time.monotonic(), **more) is None


def rows(folder: Path) -> list[dict[str, str]]:
    """The curves, without what a clock says."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def fit_of(folder: Path) -> dict[str, Any]:
    fit = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["fit"]
    return {name: value for name, value in fit.items() if name not in TIMES}


def assert_equal_runs(resumed: Path, whole: Path) -> None:
    """Weights, card, curves, best epoch and predictions to the last bit."""
    for name in ("student.safetensors", "student.json", "predictions.csv", "split.csv"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name
    assert rows(resumed) == rows(whole)
    assert len(rows(whole)) > 1
    assert fit_of(resumed) == fit_of(whole)
