"""What the engine costs: its training steps beside a plain loop that does the same work.

Both times are of one epoch's training steps: loading the batches in a thread, changing their
geometry and colours, forward, backward, clipping, optimiser and schedule, on the same networks and
tiles in the same order. The engine's come from its own clock, which leaves out the settling of
statistics, validation and checkpoints.

The suite runs a small form, whose bound leaves room for a noisy machine. The full form, 1024 px
tiles and the published width, where the engine may cost 5 %, runs on an idle machine with

    HMKD_BENCHMARK=full OMP_NUM_THREADS=2 pytest -s tests/benchmarks/test_training_speed.py
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.model import ModelCard, build_student, build_teacher
from napari_hmkd.model.planes import set_recompute
from napari_hmkd.training.config import (
    AugmentSettings,
    DistillationSettings,
    EngineSettings,
    ParallelComputeSettings,
)
from napari_hmkd.training.data import TileData
from napari_hmkd.training.engine import Engine
from napari_hmkd.training.graders import Grader
from napari_hmkd.training.methods.registry import make_method
from napari_hmkd.training.optimisers import optimiser_and_schedule
from napari_hmkd.training.splits import Split
from napari_hmkd.training.statistics import SettledStatistics
from napari_hmkd.training.tasks import (
    MONITOR,
    GradingTask,
    OptimiserSettings,
    StudentTask,
    TeacherTask,
)
from napari_hmkd.training.tiles import Tile

CPU = torch.device("cpu")
OPTIMISER = OptimiserSettings()


@dataclass(frozen=True)
class Form:
    """Size of a benchmark, and the most that the engine may take, relative to the loop."""

    tile_px: int
    width: float
    steps: int
    repeats: int
    most: float


FULL = os.environ.get("HMKD_BENCHMARK") == "full"
FORM = Form(1024, 1.0, 3, 3, 1.05) if FULL else Form(256, 0.25, 6, 3, 3.0)
BATCH = 2


class Store:
    """Random pairs in memory."""

    def __init__(self, count: int) -> None:
        shape = (count, 2, FORM.tile_px, FORM.tile_px, 3)
        self.pairs = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.pairs[indices]


def card(role: str) -> ModelCard:
    return ModelCard(name=role, role=role, width=FORM.width, mpp=0.46, tile_px=FORM.tile_px)


def make_task(role: str) -> GradingTask:
    torch.manual_seed(0)
    teacher = build_teacher(width=FORM.width)
    set_recompute(teacher, recompute=True)
    if role == "teacher":
        return TeacherTask(teacher, card(role), OPTIMISER)
    student, guide = build_student(width=FORM.width), Grader(teacher, card("teacher"))
    set_recompute(student, recompute=True)
    method = make_method(DistillationSettings(), student, guide, FORM.tile_px)
    return StudentTask(student, card(role), OPTIMISER, method, guide)


def make_data() -> TileData:
    count = BATCH * FORM.steps
    tiles = [Tile(str(i), i % 4, str(i)) for i in range(count + 2)]
    held = np.array([count, count + 1])
    split = Split(np.arange(count), held, held, held, "")
    return TileData(tiles, Store(count + 2), split, AugmentSettings(), batch_size=BATCH, seed=0)


def plain_speed(role: str, data: TileData) -> float:
    """Steps per second of a loop that does no more than it must."""
    task = make_task(role).train()
    optimiser, schedule = optimiser_and_schedule(
        task, OPTIMISER, steps=FORM.steps, steps_per_epoch=FORM.steps
    )
    weights = [weight for weight in task.parameters() if weight.requires_grad]
    started = time.perf_counter()
    for batch in data.train_dataloader():
        optimiser.zero_grad()
        task.total(task.parts(data.on_after_batch_transfer(batch, 0))).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
    return FORM.steps / (time.perf_counter() - started)


def engine_speed(role: str, data: TileData, folder: Path) -> float:
    """Steps per second of an epoch, as `metrics.csv` has them."""
    folder.mkdir()
    settings, compute = EngineSettings(epochs=1), ParallelComputeSettings(BATCH, "cpu")
    engine = Engine(
        settings, compute, CPU, folder, monitor=MONITOR, callbacks=[SettledStatistics()]
    )
    fitted = engine.fit(make_task(role), data, None)
    assert fitted is not None
    return fitted.steps_per_second


@pytest.mark.parametrize("role", ["teacher", "student"] if FULL else ["student"])
@pytest.mark.timeout(1200)
def test_the_engine_keeps_up_with_a_plain_loop(
    role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_data()
    plain_speed(role, data)  # first calls choose and build kernels
    plain, engine = [], []
    for repeat in range(FORM.repeats):
        plain.append(plain_speed(role, data))
        engine.append(engine_speed(role, data, tmp_path / str(repeat)))
    taken = median(p / e for p, e in zip(plain, engine, strict=True))
    with capsys.disabled():
        print(
            f"\n{role}, {FORM.tile_px} px, width {FORM.width:g}, batch {BATCH}: plain loop "
            f"{median(plain):.3f} steps/s, engine {median(engine):.3f}, time x {taken:.3f}"
        )
    assert taken <= FORM.most
