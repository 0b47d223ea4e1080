"""From the settings to a method that fits the two networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from torch import nn

from napari_hmkd.errors import DataError, ModelError
from napari_hmkd.model import TimmStudent
from napari_hmkd.model.shapes import answer_widths
from napari_hmkd.training.config import DistillationSettings, Method
from napari_hmkd.training.graders import Grader
from napari_hmkd.training.methods.base import Distillation
from napari_hmkd.training.methods.hmkd import Hmkd
from napari_hmkd.training.methods.rivals import (
    MIDDLE,
    Alone,
    AttentionTransfer,
    Decoupled,
    Dist,
    FitNets,
    Hinton,
    Relational,
    Similarity,
)

# HM-KD and FitNets may have layers of their own, whose sizes depend on the networks.
WITHOUT_LAYERS: dict[Method, Callable[[DistillationSettings], Distillation]] = {
    Method.NONE: Alone,
    Method.HINTON: Hinton,
    Method.ATTENTION_TRANSFER: AttentionTransfer,
    Method.SIMILARITY: Similarity,
    Method.RELATIONAL: Relational,
    Method.DECOUPLED: Decoupled,
    Method.DIST: Dist,
}


# What a method reads besides `method` and `cross_entropy`.
READS = {
    Method.NONE: set[str](),
    Method.HMKD: {"logits_kl", "cosine", "attention", "temperature", "cosine_reduction"},
    Method.HINTON: {"temperature", "rival_weight"},
}
READ_BY_RIVALS = {"rival_weight"}


def make_method(
    settings: DistillationSettings, student: nn.Module, teacher: Grader | None, tile_px: int
) -> Distillation:
    """The method of the settings for these two networks.

    Parameters
    ----------
    settings : DistillationSettings
        Which method, and its weights.
    student : torch.nn.Module
        Returns a `StudentOutput`.
    teacher : Grader or None
        None will do for the method `none`, and for HM-KD with the label alone.
    tile_px : int
        Side of the tiles both will see.

    Raises
    ------
    DataError
        If the method needs a teacher and there is none, every weight is 0, or a setting was changed
        that the method does not read.
    ModelError
        If the method compares attention and the student has none.
    """
    _refuse_unread(settings)
    if settings.method is Method.HMKD:
        return _hmkd(settings, student, teacher, tile_px)
    if teacher is None and settings.method is not Method.NONE:
        raise _no_teacher(settings)
    if settings.method is Method.FITNETS:
        assert teacher is not None
        both = (answer_widths(network, tile_px) for network in (student, teacher.network))
        return FitNets(settings, *(widths.maps[MIDDLE] for widths in both))
    return WITHOUT_LAYERS[settings.method](settings)


def _refuse_unread(settings: DistillationSettings) -> None:
    """A study of a setting that does nothing would report a number for it."""
    read = READS.get(settings.method, READ_BY_RIVALS) | {"method", "cross_entropy"}
    for item in fields(settings):
        if item.name not in read and getattr(settings, item.name) != item.default:
            raise DataError(
                f"--method {settings.method.value} does not read "
                f"--{item.name.replace('_', '-')}: leave it out"
            )


def _hmkd(
    settings: DistillationSettings, student: nn.Module, teacher: Grader | None, tile_px: int
) -> Hmkd:
    """HM-KD, with a projection where the pooled features differ in width."""
    method = Hmkd(settings)
    if not method.needs_teacher:
        return method
    if teacher is None:
        raise _no_teacher(settings)
    if method.needs_attention and isinstance(student, TimmStudent):
        raise ModelError(
            f"{student.architecture} has no attention matrices: use --attention 0 or another "
            "--method"
        )
    if "cosine" not in method.weights:
        return method
    own, taught = (answer_widths(network, tile_px).pooled for network in (student, teacher.network))
    return method if own == taught else Hmkd(settings, nn.Linear(own, taught))


def _no_teacher(settings: DistillationSettings) -> DataError:
    return DataError(
        f"--method {settings.method.value} learns from a teacher: name its file with --teacher, "
        "or train the student alone with --method none"
    )
