"""Teachers and students in files, with their model card."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from napari_hmkd.errors import ModelError
from napari_hmkd.model.card import ModelCard
from napari_hmkd.model.stages import stage_channels
from napari_hmkd.model.storage import read_card_file, read_tensors, write_model
from napari_hmkd.model.student import Student
from napari_hmkd.model.teacher import Teacher
from napari_hmkd.model.tensors import check_tensors
from napari_hmkd.model.timm_student import PREFIX, TimmStudent, blank_timm_student

Network = Teacher | Student
AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
CLASSES: dict[str, type[Network]] = {"teacher": Teacher, "student": Student}
_IMPORT = (
    "Of a run of napari-hmkd-train, which has checkpoints to go on from, name student.safetensors or "
    "teacher.safetensors; a torch checkpoint (.pth, .pt, pickle) of the published program is imported "
    "with: napari-hmkd-train convert"
)


def save(
    path: str | os.PathLike[str], module: nn.Module, card: ModelCard, half: bool = False
) -> None:
    """Write weights and card; each file is replaced whole or not at all.

    Parameters
    ----------
    path : path-like
        The weights, ``.safetensors``; the card goes beside it.
    module : torch.nn.Module
        A teacher or a student of the card's role, width and architecture.
    half : bool
        Store the weights of convolutions and linear layers as float16; norms and biases, which are
        small and need the range, stay float32, and integers as they are.

    Raises
    ------
    ModelError
        If the module is not what the card says, or a weight is not finite (in float16, if asked).
    OutputError
        If the files cannot be written, or the name does not end in ``.safetensors``.
    """
    write_model(Path(path), _stored(module, card, half), card.to_json())


def as_stored(module: nn.Module, card: ModelCard, half: bool = False) -> Network | TimmStudent:
    """The network that `load` will give back of what `save` writes with the same arguments.

    Raises
    ------
    ModelError
        As `save`.
    """
    return fill(blank_of(card), _stored(module, card, half))


def _stored(module: nn.Module, card: ModelCard, half: bool) -> dict[str, torch.Tensor]:
    """The checked content of a weights file."""
    tensors = {
        name: (_halved(tensor) if half else tensor).cpu()
        for name, tensor in module.state_dict().items()
    }
    check_tensors(tensors, blank_of(card).state_dict(), f"the {card.role} to be saved")
    return tensors


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.ndim > 1 and tensor.is_floating_point() else tensor


def load(path: str | os.PathLike[str]) -> tuple[Network | TimmStudent, ModelCard]:
    """Read a model.

    Returns
    -------
    module : Teacher, Student or TimmStudent
        In eval mode, float32, on the CPU.
    card : ModelCard
        Its card.

    Raises
    ------
    ModelError
        If weights or card are missing or broken, or do not fit each other.
    """
    path = Path(path)
    tensors = read_tensors(path, _IMPORT)
    card = read_card(path)
    module = blank_of(card)
    check_tensors(tensors, module.state_dict(), str(path))
    return fill(module, tensors), card


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Read the card beside a weights file, without the weights.

    Raises
    ------
    ModelError
        If it is missing or broken.
    """
    return read_card_file(Path(path), ModelCard.from_json)


def blank(role: str, width: float) -> Network:
    """A network that has shapes and no memory yet.

    Raises
    ------
    ModelError
        If there is no such network.
    """
    if role not in CLASSES:
        raise ModelError(f"a model is a {' or a '.join(CLASSES)}, asked for {role!r}")
    with torch.device("meta"):
        return CLASSES[role](stage_channels(width))


def blank_of(card: ModelCard) -> Network | TimmStudent:
    """The network that a card describes, with weights of no meaning.

    Raises
    ------
    ModelError
        If there is no such network.
    """
    if not card.architecture.startswith(PREFIX):
        return blank(card.role, card.width)
    if card.role != "student":
        raise ModelError(f"{card.architecture} can be a student, but no {card.role}")
    return blank_timm_student(card.architecture.removeprefix(PREFIX), card.tile_px)


def fill(module: AnyNetwork, tensors: Mapping[str, torch.Tensor]) -> AnyNetwork:
    """Give a blank network its weights, as float32 copies, and set it to eval mode."""
    module.load_state_dict(
        {
            # A copy, so that no file stays mapped: Windows could not replace it.
            name: tensor.to(torch.float32 if tensor.is_floating_point() else None, copy=True)
            for name, tensor in tensors.items()
        },
        assign=True,
    )
    return module.eval()
