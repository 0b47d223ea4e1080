"""The two tasks: named parts of the loss, terms that are switched off, and a frozen teacher."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("torchmetrics", reason="needs the extra `train`")

from napari_hmkd.errors import DataError, ModelError
from napari_hmkd.model import ModelCard, build_student, build_teacher
from napari_hmkd.training.config import (
    DistillationSettings,
    Method,
    OptimiserName,
    OptimiserSettings,
    Reduction,
    StoredDataSettings,
)
from napari_hmkd.training.data import Batch, PairDataset
from napari_hmkd.training.graders import Grader, predict_logits
from napari_hmkd.training.methods import losses
from napari_hmkd.training.methods.hmkd import Hmkd
from napari_hmkd.training.methods.registry import make_method
from napari_hmkd.training.store import open_store
from napari_hmkd.training.tasks import GradingTask, StudentTask, TeacherTask

CARD = ModelCard(name="test", role="teacher", width=0.25, mpp=0.5, tile_px=256)
OFF = DistillationSettings(cross_entropy=0, logits_kl=0, cosine=0, attention=1)
TERMS = ("cross_entropy", "logits_kl", "cosine", "attention")


@pytest.fixture(scope="module")
def batch() -> Batch:
    pixels = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (2, 2, 256, 256, 3), np.uint8)
    )
    return Batch(pixels[0], pixels[1], torch.tensor([1, 3]))


@pytest.fixture(scope="module")
def teacher() -> Grader:
    torch.manual_seed(0)
    return Grader(build_teacher(width=0.25), CARD)


def student_task(
    teacher: Grader | None,
    settings: DistillationSettings,
    optimiser: OptimiserName = OptimiserName.SGD,
) -> StudentTask:
    torch.manual_seed(1)
    card, network = replace(CARD, role="student"), build_student(width=0.25)
    if settings.method is Method.HMKD:
        method = Hmkd(settings)  # of one width with its teacher: there is nothing to fit
    else:
        method = make_method(settings, network, teacher, CARD.tile_px)
    return StudentTask(network, card, OptimiserSettings(optimiser=optimiser), method, teacher)


def collected(monkeypatch: pytest.MonkeyPatch, task: GradingTask) -> dict[str, torch.Tensor]:
    """What the task logs from now on; all of it has to be shared among processes."""
    logged: dict[str, torch.Tensor] = {}

    def log_dict(values: dict[str, torch.Tensor], *, sync_dist: bool, **_: object) -> None:
        assert sync_dist
        logged.update(values)

    monkeypatch.setattr(task, "log", lambda name, value, **how: log_dict({name: value}, **how))
    monkeypatch.setattr(task, "log_dict", log_dict)
    return logged


def test_the_teacher_learns_from_the_cross_entropy_of_both_stains(batch: Batch) -> None:
    torch.manual_seed(0)
    task = TeacherTask(build_teacher(width=0.25), CARD, OptimiserSettings()).eval()
    parts = task.parts(batch)
    logits = task.network(CARD.normalise(batch.he), CARD.normalise(batch.ihc)).logits
    assert parts.keys() == {"cross_entropy"}
    torch.testing.assert_close(task.total(parts), losses.cross_entropy(logits, batch.grade))


def test_the_student_s_loss_is_the_weighted_sum_of_four_named_parts(batch, teacher) -> None:
    weights = DistillationSettings(cross_entropy=1, logits_kl=2, cosine=3, attention=4)
    task = student_task(teacher, weights).eval()
    parts = task.parts(batch)
    assert tuple(parts) == TERMS
    wanted = sum(getattr(weights, name) * part for name, part in parts.items())
    torch.testing.assert_close(task.total(parts), wanted)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_of_weight_0_is_not_computed(monkeypatch, batch, teacher, term: str) -> None:
    name = term if term in ("cross_entropy", "logits_kl") else f"{term}_loss"

    def never(*_: object, **__: object) -> torch.Tensor:
        raise AssertionError(f"{name} was computed")

    monkeypatch.setattr(losses, name, never)
    task = student_task(teacher, DistillationSettings(**{term: 0.0})).eval()
    assert set(task.parts(batch)) == set(TERMS) - {term}


def test_a_student_on_its_own_never_asks_the_teacher(monkeypatch, batch, teacher) -> None:
    alone = DistillationSettings(logits_kl=0, cosine=0, attention=0)
    task = student_task(teacher, alone)
    monkeypatch.setattr(teacher.network, "forward", lambda *_: pytest.fail("the teacher ran"))
    assert set(task.parts(batch)) == {"cross_entropy"}


def test_the_cosine_term_can_be_the_published_sum(batch, teacher) -> None:
    mean, total = (
        student_task(teacher, replace(DistillationSettings(), cosine_reduction=how)).eval()
        for how in (Reduction.MEAN, Reduction.SUM)
    )
    torch.testing.assert_close(total.parts(batch)["cosine"], 2 * mean.parts(batch)["cosine"])


def test_training_leaves_the_teacher_as_it_is(batch, teacher) -> None:
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    task = student_task(teacher, DistillationSettings())
    task.train()
    running = task.network.stages[0].state_dict().copy()
    running = {name: value.clone() for name, value in running.items() if "running" in name}
    task.total(task.parts(batch)).backward()
    assert task.network.training
    assert not any(module.training for module in task.teacher.modules())
    # The statistics of the student's BatchNorm move, the teacher's and its weights do not.
    after = task.network.stages[0].state_dict()
    assert any(not torch.equal(after[name], value) for name, value in running.items())
    for name, value in teacher.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(weight.grad is None for weight in teacher.network.parameters())
    assert all(weight.grad is not None for weight in task.network.parameters())


def test_the_attention_term_needs_attention(batch, teacher) -> None:
    he = CARD.normalise(batch.he)
    with torch.no_grad():
        student = build_student(width=0.25)(he)
        taught = teacher.network(he, he)
    with pytest.raises(ModelError, match="return their attention"):
        Hmkd(OFF).parts(student, taught, batch.grade)


@pytest.mark.parametrize(("spoiled", "kappa"), [(False, 1.0), (True, -1.0)])
def test_an_epoch_with_a_tile_that_is_not_answered_is_not_picked(
    monkeypatch, batch, spoiled: bool, kappa: float
) -> None:
    task = TeacherTask(build_teacher(width=0.25), CARD, OptimiserSettings())
    logits = torch.tensor([[0.0, 9, 0, 0], [0, 0, 0, 9]])
    logits[0, 0] = float("nan") if spoiled else 0
    monkeypatch.setattr(task, "logits", lambda _: logits)
    logged = collected(monkeypatch, task)
    task.validation_step(batch, 0)
    task.on_validation_epoch_end()
    assert logged["validation_kappa"] == kappa
    assert logged["validation_not_finite"] == int(spoiled)


def test_a_network_that_answers_nan_is_not_scored(random_source) -> None:
    network = torch.nn.Module()
    network.forward = lambda he: SimpleNamespace(logits=he.mean((2, 3))[:, :1].log().expand(-1, 4))
    grader = Grader(network, replace(CARD, role="student"))
    store = open_store(random_source, StoredDataSettings())
    dataset = PairDataset(store, random_source.tiles, np.arange(6))
    with pytest.raises(ModelError, match=r"answers \d of 6 tiles with values that are not finite"):
        predict_logits(grader, dataset, 4, torch.device("cpu"))


FITNETS = DistillationSettings(method=Method.FITNETS)
UNLABELLED = DistillationSettings(cross_entropy=0)


def test_a_student_without_a_teacher_is_a_baseline(batch: Batch) -> None:
    task = student_task(None, DistillationSettings(method=Method.NONE)).train()
    task.total(task.parts(batch)).backward()
    assert all(weight.grad is not None for weight in task.parameters())


def test_a_method_that_needs_a_teacher_is_refused_without_one() -> None:
    network, method = build_student(width=0.25), Hmkd(DistillationSettings())
    with pytest.raises(DataError, match="--teacher"):
        StudentTask(network, replace(CARD, role="student"), OptimiserSettings(), method, None)


@pytest.mark.parametrize("optimiser", list(OptimiserName))
def test_the_method_s_own_layers_are_trained(monkeypatch, batch, teacher, optimiser) -> None:
    task = student_task(teacher, FITNETS, optimiser).train()
    trainer = SimpleNamespace(estimated_stepping_batches=4, max_epochs=2)
    monkeypatch.setattr(GradingTask, "trainer", trainer)
    chosen = task.configure_optimizers()["optimizer"]
    before = {name: weight.detach().clone() for name, weight in task.named_parameters()}
    # Twice: the warm-up of AdamW begins low, and norms hide the first step of a convolution.
    for _ in range(2):
        task.total(task.parts(batch)).backward()
        chosen.step()
    moved = {name for name, weight in task.named_parameters() if not weight.equal(before[name])}
    assert {"method.regressor.weight", "network.head.classify.weight"} <= moved
    assert not any(name.startswith("teacher.") for name in moved)


def test_a_checkpoint_holds_the_method_s_layers_and_no_teacher(teacher) -> None:
    task = student_task(teacher, FITNETS)
    checkpoint = {"state_dict": task.state_dict()}
    assert any(name.startswith("teacher.") for name in checkpoint["state_dict"])
    task.on_save_checkpoint(checkpoint)
    kept = {name.split(".")[0] for name in checkpoint["state_dict"]}
    assert kept == {"network", "method"}
    assert "method.regressor.weight" in checkpoint["state_dict"]


def test_tiles_without_a_grade_are_validated_against_the_teacher(
    monkeypatch, batch, teacher
) -> None:
    task = student_task(teacher, UNLABELLED).eval()
    answers = torch.tensor([[0.0, 0, 9, 0], [9, 0, 0, 0]])
    monkeypatch.setattr(
        teacher.network, "forward", lambda *_, **__: SimpleNamespace(logits=answers)
    )
    unlabelled, mixed = (batch._replace(grade=torch.tensor(g)) for g in ([-1, -1], [1, -1]))
    assert task.truth(unlabelled).tolist() == [2, 0]
    assert task.truth(mixed).tolist() == [1, 0]
    assert task.truth(batch) is batch.grade
    monkeypatch.setattr(task, "logits", lambda _: answers)
    logged = collected(monkeypatch, task)
    task.validation_step(unlabelled, 0)
    task.on_validation_epoch_end()
    assert logged["validation_accuracy"] == 1
    assert logged["validation_kappa"] == 1


def test_without_a_teacher_validation_needs_grades(batch: Batch) -> None:
    task = student_task(None, DistillationSettings(method=Method.NONE))
    with pytest.raises(DataError, match="labelled"):
        task.truth(batch._replace(grade=torch.tensor([1, -1])))


def test_a_training_step_logs_the_loss_and_its_parts(monkeypatch, batch, teacher) -> None:
    task = student_task(teacher, DistillationSettings(attention=0)).eval()
    logged = collected(monkeypatch, task)
    loss = task.training_step(batch, 0)
    assert logged["train_loss"] == loss
    assert not logged["train_loss"].requires_grad
    assert logged.keys() == {"train_loss", *(f"train_{name}" for name in TERMS[:3])}


def test_a_step_on_tiles_without_a_grade(batch, teacher) -> None:
    task = student_task(teacher, UNLABELLED).train()
    parts = task.parts(batch._replace(grade=torch.tensor([-1, -1])))
    assert parts.keys() == set(TERMS) - {"cross_entropy"}
    assert task.total(parts).isfinite()


def test_tiles_without_a_grade_are_refused_where_the_loss_reads_it(teacher, random_source) -> None:
    random_source.tiles[4] = replace(random_source.tiles[4], grade=None)
    readers = [
        TeacherTask(build_teacher(width=0.25), CARD, OptimiserSettings()),
        student_task(teacher, DistillationSettings()),
        student_task(teacher, replace(UNLABELLED, method=Method.DECOUPLED)),
    ]
    for task in readers:
        task.require_labels(random_source, range(4))
        # As the source names it: a file, and the line of its manifest.
        with pytest.raises(DataError, match=r"1-1 HE has no grade.*--cross-entropy 0"):
            task.require_labels(random_source, range(6))
    student_task(teacher, UNLABELLED).require_labels(random_source, range(6))


@pytest.mark.parametrize("wrong", [{"cosine": -1.0}, {"temperature": 0.0}])
def test_impossible_weights_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError):
        DistillationSettings(**wrong)
