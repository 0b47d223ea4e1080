"""Weights as safetensors, with the model card as JSON beside them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import nn

from napari_hmkd.errors import ModelError, OutputError
from napari_hmkd.model.card import ModelCard
from napari_hmkd.model.stages import stage_channels
from napari_hmkd.model.student import Student
from napari_hmkd.model.teacher import Teacher

Network = Teacher | Student
CLASSES: dict[str, type[Network]] = {"teacher": Teacher, "student": Student}


def card_path(path: str | os.PathLike[str]) -> Path:
    """Where the card of a weights file lies: the same name with ``.json``."""
    return Path(path).with_suffix(".json")


def save(
    path: str | os.PathLike[str], module: nn.Module, card: ModelCard, half: bool = False
) -> None:
    """Write weights and card; each file is replaced whole or not at all.

    Parameters
    ----------
    path : path-like
        The weights, ``.safetensors``; the card goes beside it.
    module : torch.nn.Module
        A teacher or a student of the card's role and width.
    half : bool
        Store the weights of convolutions and linear layers as float16; norms and biases, which are
        small and need the range, stay float32.

    Raises
    ------
    ModelError
        If the module is not what the card says, or a weight is not finite (in float16, if asked).
    OutputError
        If the files cannot be written, or the name does not end in ``.safetensors``.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise OutputError(f"asked to write weights as {path.name}: end the name in .safetensors")
    tensors = {
        name: (tensor.half() if half and tensor.ndim > 1 else tensor).cpu().contiguous()
        for name, tensor in module.state_dict().items()
    }
    check_tensors(tensors, blank(card.role, card.width), f"the {card.role} to be saved")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
            weights, text = Path(folder, path.name), Path(folder, card_path(path).name)
            # Not save_file, whose files only their owner can read.
            weights.write_bytes(serialise(tensors))
            text.write_text(card.to_json(), encoding="utf-8")
            os.replace(weights, path)
            os.replace(text, card_path(path))
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write the model {path}: {error}") from error


def load(path: str | os.PathLike[str]) -> tuple[Network, ModelCard]:
    """Read a model.

    Returns
    -------
    module : Teacher or Student
        In eval mode, float32, on the CPU.
    card : ModelCard
        Its card.

    Raises
    ------
    ModelError
        If weights or card are missing or broken, or do not fit each other.
    """
    path = Path(path)
    tensors = _read_tensors(path)
    card = read_card(path)
    module = blank(card.role, card.width)
    check_tensors(tensors, module, str(path))
    return fill(module, tensors), card


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Read the card beside a weights file, without the weights.

    Raises
    ------
    ModelError
        If it is missing or broken.
    """
    path = Path(path)
    try:
        return ModelCard.from_json(card_path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"the model {path} needs its card {card_path(path).name} beside it, which cannot be "
            f"read ({error}): copy both files, or convert the checkpoint again"
        ) from error
    except ModelError as error:
        raise ModelError(f"{card_path(path)}: {error}") from error


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


def fill(module: Network, tensors: Mapping[str, torch.Tensor]) -> Network:
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


def check_tensors(tensors: Mapping[str, torch.Tensor], module: nn.Module, what: str) -> None:
    """Require the names and shapes of `module`, and finite values.

    Raises
    ------
    ModelError
        Naming the first tensor that differs.
    """
    wanted = module.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise ModelError(f"{what} lacks the tensor {name} of shape {tuple(tensor.shape)}")
        if tensors[name].shape != tensor.shape:
            raise ModelError(
                f"{what} has {name} of shape {tuple(tensors[name].shape)}, where this network "
                f"needs {tuple(tensor.shape)}: role or width differ"
            )
        if not torch.isfinite(tensors[name]).all():
            raise ModelError(f"{what} has values in {name} that are not finite")
    if extra := sorted(tensors.keys() - wanted.keys()):
        raise ModelError(f"{what} has a tensor {extra[0]} that this network does not know")


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file."""
    if not path.is_file():
        raise ModelError(f"there is no model file {path}")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path} is not a safetensors file ({error}). A torch checkpoint (.pth, .pt, pickle) "
            "of the published program is imported with: napari-hmkd-train convert"
        ) from error
