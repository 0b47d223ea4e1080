"""The network of a run and the task that trains it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from napari_hmkd.errors import DataError, ModelError
from napari_hmkd.model import ModelCard, build_student, build_teacher
from napari_hmkd.model.planes import set_recompute
from napari_hmkd.model.stages import WIDEST
from napari_hmkd.model.timm_student import PREFIX, build_timm_student
from napari_hmkd.training.config import Method, TrainSettings
from napari_hmkd.training.graders import Grader, load_grader
from napari_hmkd.training.methods.registry import make_method
from napari_hmkd.training.tasks import GradingTask, StudentTask, TeacherTask
from napari_hmkd.training.tiles import TileSource

OWN = "hmkd"


def find_guide(teacher: Path | None, settings: TrainSettings) -> Grader | None:
    """The teacher that a run learns from, where one is named.

    Raises
    ------
    DataError
        If nothing would learn from it.
    ModelError
        If its file cannot be used.
    """
    if teacher is None:
        return None
    if settings.distillation.method is Method.NONE:
        raise DataError("--method none learns from the labels alone: leave out --teacher")
    return load_grader(teacher, "teacher")


def make_task(
    source: TileSource, run_name: str, settings: TrainSettings, role: str, guide: Grader | None
) -> GradingTask:
    """A fresh network in its training task.

    Raises
    ------
    DataError
        If the method needs a teacher and there is none.
    ModelError
        If a width is impossible, there is no such student, or it and the teacher cannot be
        compared.
    """
    width = settings.export.width
    if width is None:
        width = 1.0 if guide is None else guide.card.width
    elif not 0 < width <= WIDEST:
        raise ModelError(f"--width must be above 0 and at most {WIDEST:g}, got {width:g}")
    lesson = "" if guide is None else f"; taught by {guide.card.name}"
    card = ModelCard(
        name=settings.export.name or run_name,
        role=role,
        width=width,
        mpp=source.mpp,
        tile_px=source.tile_px,
        training_data=source.training_data + lesson,
        notice=source.notice,
    )
    if role == "teacher":
        network: nn.Module = build_teacher(width=width)
        set_recompute(network, settings.engine.recompute)
        return TeacherTask(network, card, settings.optimiser)
    network, card = _student(card, settings)
    if guide is not None:
        set_recompute(guide.network, settings.engine.recompute)
    method = make_method(settings.distillation, network, guide, source.tile_px)
    return StudentTask(network, card, settings.optimiser, method, guide)


def _student(card: ModelCard, settings: TrainSettings) -> tuple[nn.Module, ModelCard]:
    """The network asked for, and the card that says which it is."""
    name, weights = settings.student.student, settings.student.student_weights
    if name == OWN:
        if weights is not None:
            raise ModelError(f"--student-weights need a network of timm: --student {PREFIX}NAME")
        network: nn.Module = build_student(width=card.width)
        set_recompute(network, settings.engine.recompute)
        return network, card
    if not name.startswith(PREFIX):
        raise ModelError(f"asked for the student {name!r}: say {OWN}, or {PREFIX}NAME of timm")
    if settings.export.width is not None:
        raise ModelError(f"--width is for this project's own networks, and {name} has its own")
    student = build_timm_student(name, weights, tile_px=card.tile_px)
    card = replace(card, architecture=name, width=1.0)
    if weights is not None:
        mean, std = student.pretrained_normalisation()
        card = replace(card, mean=mean, std=std)
    return student, card
