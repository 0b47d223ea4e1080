"""A fresh network and its card: what a student of timm is fed with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("torchmetrics", reason="needs the extra `train`")

from napari_hmkd.errors import ModelError
from napari_hmkd.model import ModelCard, build_teacher
from napari_hmkd.model.card import IMAGENET_MEAN, IMAGENET_STD
from napari_hmkd.training.building import make_task
from napari_hmkd.training.config import (
    DistillationSettings,
    ExportSettings,
    Method,
    StudentSettings,
    TrainSettings,
)
from napari_hmkd.training.data import Batch
from napari_hmkd.training.graders import Grader
from napari_hmkd.training.tasks import StudentTask

SIDE = 256
SOURCE = SimpleNamespace(mpp=0.5, tile_px=SIDE, training_data="random pixels", notice="")
IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
HALF = ((0.5,) * 3,) * 2


def student_task(name: str, weights: Path | None, guide: Grader | None = None) -> StudentTask:
    torch.manual_seed(1)
    settings = TrainSettings(
        student=StudentSettings(student=f"timm:{name}", student_weights=weights),
        distillation=DistillationSettings(method=Method.HINTON if guide else Method.NONE),
    )
    task = make_task(SOURCE, "run", settings, "student", guide)
    assert isinstance(task, StudentTask)
    return task


def weights_of(name: str, folder: Path) -> Path:
    path = folder / "größe 1.safetensors"
    save_file(timm.create_model(name, pretrained=False, num_classes=1000).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("name", "own_weights", "fed_with"),
    [
        ("test_resnet", True, HALF),
        ("test_efficientnet", True, IMAGENET),
        ("test_resnet", False, IMAGENET),
    ],
)
def test_weights_of_timm_are_fed_as_they_were_trained(
    tmp_path: Path, name: str, own_weights: bool, fed_with: tuple
) -> None:
    card = student_task(name, weights_of(name, tmp_path) if own_weights else None).card
    assert (card.mean, card.std) == fed_with
    assert (card.architecture, card.width) == (f"timm:{name}", 1.0)


def test_teacher_and_student_are_each_fed_by_their_own_card(tmp_path: Path) -> None:
    torch.manual_seed(0)
    card = ModelCard(name="test", role="teacher", width=0.25, mpp=0.5, tile_px=SIDE)
    guide = Grader(build_teacher(width=0.25), card)
    task = student_task("test_resnet", weights_of("test_resnet", tmp_path), guide).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 1, SIDE, SIDE, 3), np.uint8)
    batch = Batch(*torch.from_numpy(pixels), torch.tensor([1]))
    fed: dict[str, torch.Tensor] = {}
    for role, network in (("student", task.network), ("teacher", guide.network)):
        network.register_forward_pre_hook(lambda _, tiles, role=role: fed.update({role: tiles[0]}))
    scaled = batch.he.float().permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        task.parts(batch)
        torch.testing.assert_close(fed["teacher"], card.normalise(batch.he))
        torch.testing.assert_close(fed.pop("student"), 2 * scaled - 1)
        grader = Grader(task.network, task.card)
        for grade in (lambda: task.logits(batch), lambda: grader.logits(batch.he, batch.ihc)):
            grade()
            torch.testing.assert_close(fed.pop("student"), 2 * scaled - 1)


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("width", [0.0, -1.0, 8.5, float("nan")])
def test_an_impossible_width_is_refused_by_its_option(role: str, width: float) -> None:
    settings = TrainSettings(export=ExportSettings(width=width))
    with pytest.raises(ModelError, match=f"^--width must be above 0 and at most 8, got {width:g}$"):
        make_task(SOURCE, "run", settings, role, None)
