"""HM-KD compares attention by rows where training is to save memory, with the numbers of planes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("torchmetrics", reason="needs the extra `train`")

from napari_hmkd.model import ModelCard, StudentOutput, build_student, build_teacher
from napari_hmkd.model.attention_rows import AttentionRows
from napari_hmkd.model.planes import MAPS, AttentionForm, set_recompute
from napari_hmkd.training.building import make_task
from napari_hmkd.training.config import (
    DistillationSettings,
    EngineSettings,
    OptimiserSettings,
    TrainSettings,
)
from napari_hmkd.training.data import Batch
from napari_hmkd.training.graders import Grader
from napari_hmkd.training.methods import losses
from napari_hmkd.training.methods.hmkd import Hmkd
from napari_hmkd.training.tasks import StudentTask

pytestmark = pytest.mark.slow

WIDTH = 0.25
CARD = ModelCard(name="test", role="teacher", width=WIDTH, mpp=0.5, tile_px=256)


def build(form: AttentionForm, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """A student in training and a frozen teacher, whose BatchNorms have seen something."""
    torch.manual_seed(seed)
    networks = [make(width=WIDTH, attention_form=form) for make in (build_student, build_teacher)]
    for network in networks:
        set_recompute(network, recompute=True)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    student, teacher = networks
    return student.train(), teacher.eval().requires_grad_(False)


@pytest.fixture
def all_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are given even where tokens are few."""
    monkeypatch.setattr("napari_hmkd.model.gather.TOKENS_PER_CHANNEL", 0)


def trained(form: AttentionForm, batch: int) -> tuple[StudentOutput, dict[str, torch.Tensor]]:
    """Answers, loss, gradients and statistics of one step, all float64."""
    student, teacher = (network.double() for network in build(form))
    he, ihc = torch.randn(2, batch, 3, 256, 256, dtype=torch.float64)
    output = student(he, attention="rows")
    with torch.no_grad():
        taught = teacher(he, ihc, attention="rows")
    distances = losses.attention_losses(output.attention, taught.attention.he)
    (distances.sum() + output.logits.square().sum()).backward()
    gradients = {name: weight.grad for name, weight in student.named_parameters()}
    statistics = dict(student.named_buffers())
    return output, {"distances": distances.detach(), **gradients, **statistics}


@pytest.mark.usefixtures("all_levels")
@pytest.mark.parametrize("batch", [2, 3])
def test_a_step_is_that_of_planes(batch: int) -> None:
    (by_rows, found), (by_planes, wanted) = trained("auto", batch), trained("plain", batch)
    assert all(isinstance(level, AttentionRows) for level in by_rows.attention)
    assert all(isinstance(level, torch.Tensor) for level in by_planes.attention)
    assert wanted["distances"].min() > 0.1
    for name, one in wanted.items():
        close = 1e-12 * max(1, one.abs().max()) if one.is_floating_point() else 0
        torch.testing.assert_close(
            found[name],
            one,
            rtol=0,
            atol=float(close),
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.usefixtures("all_levels")
@pytest.mark.parametrize("forms", [("auto", "plain"), ("plain", "auto")])
def test_rows_compare_with_planes(forms: tuple[AttentionForm, AttentionForm]) -> None:
    he, ihc = torch.randn(2, 2, 3, 256, 256)
    wanted, found = (
        losses.attention_loss(
            build(own)[0](he, attention="rows").attention,
            build(taught)[1](he, ihc, attention="rows").attention.he,
        )
        for own, taught in (("plain", "plain"), forms)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)


def random_batch(side_px: int) -> Batch:
    """Two pairs."""
    pixels = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (2, 2, side_px, side_px, 3), np.uint8)
    )
    return Batch(*pixels, torch.tensor([0, 3]))


def kept_bytes(form: AttentionForm) -> list[int]:
    """What the task's step keeps for the gradient of two tiles of 1024 px, each tensor."""
    student, teacher = build(form)
    card, method = replace(CARD, role="student"), Hmkd(DistillationSettings())
    task = StudentTask(student, card, OptimiserSettings(), method, Grader(teacher, CARD)).train()
    weights = {weight.untyped_storage().data_ptr() for weight in task.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, so that no other one gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        task.total(task.parts(random_batch(1024)))
    return [storage.nbytes() for address, storage in kept.items() if address not in weights]


def test_a_step_of_the_task_keeps_no_plane_of_the_finest_level() -> None:
    by_planes, by_rows = kept_bytes("plain"), kept_bytes("auto")
    print(f"planes {sum(by_planes) / 2e6:.0f} MB a tile, rows {sum(by_rows) / 2e6:.0f} MB")
    planes = {maps * 2 * 4 * (32 * 32) ** 2 for maps in (1, MAPS)}
    assert planes <= set(by_planes)
    assert not planes & set(by_rows)
    assert sum(by_rows) < sum(by_planes) / 2


@pytest.mark.usefixtures("all_levels")
@pytest.mark.parametrize("recompute", [True, False])
def test_the_switch_for_memory_is_that_of_both_networks(
    monkeypatch: pytest.MonkeyPatch, recompute: bool
) -> None:
    source = SimpleNamespace(mpp=0.5, tile_px=256, training_data="random pixels", notice="")
    settings = TrainSettings(engine=EngineSettings(recompute=recompute))
    guide = Grader(build_teacher(width=WIDTH), CARD)
    task = make_task(source, "run", settings, "student", guide).train()
    compared: list[object] = []

    def attention_loss(*networks: tuple[object, ...]) -> torch.Tensor:
        compared.extend(level for levels in networks for level in levels)
        return torch.zeros(())

    monkeypatch.setattr(losses, "attention_loss", attention_loss)
    task.parts(random_batch(256))
    assert len(compared) == 6
    assert {isinstance(level, AttentionRows) for level in compared} == {recompute}
