"""Real images flow through source, store, dataset and tasks: four pairs of BCI are learned by heart.

The middle 256 px of each pair keep the test short; the networks have a quarter of the width.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.model import ModelCard, build_student, build_teacher
from napari_hmkd.training.config import (
    CohortSettings,
    DistillationSettings,
    OptimiserName,
    OptimiserSettings,
    StoredDataSettings,
)
from napari_hmkd.training.data import Batch, PairDataset
from napari_hmkd.training.graders import Grader
from napari_hmkd.training.methods.registry import make_method
from napari_hmkd.training.optimisers import optimiser_and_schedule
from napari_hmkd.training.sources.opening import open_source
from napari_hmkd.training.store import open_store
from napari_hmkd.training.tasks import GradingTask, StudentTask, TeacherTask

pytestmark = pytest.mark.slow

SIDE, FULL, WIDTH = 256, 1024, 0.25
STEPS, HELD = 60, 5
SETTINGS = OptimiserSettings(optimiser=OptimiserName.ADAMW, warmup_epochs=0)
CARD = ModelCard(name="bci", role="teacher", width=WIDTH, mpp=0.46, tile_px=SIDE)


@pytest.fixture(scope="module")
def batch(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """The middles of the four pairs, one per grade, read as training reads them."""
    folder = tmp_path_factory.mktemp("BCI Mitte größer")
    start = (FULL - SIDE) // 2
    for path in (shared_data / "bci_pairs").rglob("*.png"):
        copy = folder / path.relative_to(shared_data / "bci_pairs")
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.crop((start, start, start + SIDE, start + SIDE)).save(copy)
    pixels = StoredDataSettings()
    source = open_source(str(folder), CohortSettings(), pixels)
    dataset = PairDataset(open_store(source, pixels), source.tiles, np.arange(4))
    return dataset.__getitems__([0, 1, 2, 3])


def steps_until_known(task: GradingTask, batch: Batch) -> int:
    """Steps until the accuracy in train mode is 1.0, where it has to stay for `HELD` more."""
    optimiser, schedule = optimiser_and_schedule(task, SETTINGS, steps=STEPS, steps_per_epoch=1)
    task.train()
    accuracies: list[float] = []
    for step in range(STEPS):
        with torch.no_grad():
            right = task.logits(batch).argmax(dim=1) == batch.grade
        accuracies.append(right.float().mean().item())
        if min(accuracies[-1 - HELD :]) == 1.0 and step > HELD:
            return step - HELD
        optimiser.zero_grad()
        task.total(task.parts(batch)).backward()
        optimiser.step()
        schedule.step()
    raise AssertionError(f"training accuracy after {STEPS} steps: {accuracies}")


def test_teacher_and_student_learn_four_real_pairs_by_heart(batch: Batch, record_property) -> None:
    assert sorted(batch.grade.tolist()) == [0, 1, 2, 3]
    assert batch.he.shape == batch.ihc.shape == (4, SIDE, SIDE, 3)
    torch.manual_seed(0)
    teacher = TeacherTask(build_teacher(width=WIDTH), CARD, SETTINGS)
    record_property("teacher_steps", steps_until_known(teacher, batch))
    taught = Grader(teacher.network, CARD)
    network = build_student(width=WIDTH)
    method = make_method(DistillationSettings(), network, taught, SIDE)
    student = StudentTask(network, replace(CARD, role="student"), SETTINGS, method, taught)
    record_property("student_steps", steps_until_known(student, batch))
