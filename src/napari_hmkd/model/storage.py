"""A model's two files: weights as safetensors, and the card as JSON beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialise

from napari_hmkd.durable import replaced_file
from napari_hmkd.errors import ModelError, OutputError

Card = TypeVar("Card")


def card_path(path: str | os.PathLike[str]) -> Path:
    """Where the card of a weights file lies: the same name with ``.json``."""
    return Path(path).with_suffix(".json")


def write_model(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    card: str,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write weights, with texts in their header, and card; each file is replaced whole or not at all.

    Raises
    ------
    OutputError
        If the files cannot be written, or the name does not end in ``.safetensors``.
    """
    if path.suffix != ".safetensors":
        raise OutputError(f"asked to write weights as {path.name}: end the name in .safetensors")
    plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with replaced_file(card_path(path)) as text, replaced_file(path) as weights:
            # Not save_file, whose files only their owner can read.
            weights.write_bytes(serialise(plain, dict(metadata) if metadata else None))
            text.write_text(card, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write the model {path}: {error}") from error


def read_tensors(path: Path, advice: str) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file.

    Raises
    ------
    ModelError
        If it is missing or of another kind; then with the advice.
    """
    with _opening(path, advice):
        return load_file(path)


def read_metadata(path: Path, advice: str) -> dict[str, str]:
    """The texts in the header of a safetensors file.

    Raises
    ------
    ModelError
        As of `read_tensors`.
    """
    with _opening(path, advice), safe_open(path, "pt") as file:
        return file.metadata() or {}


@contextmanager
def _opening(path: Path, advice: str) -> Iterator[None]:
    if not os.path.isfile(path):  # pathlib raises in a folder that may not be entered
        raise ModelError(f"there is no model file {path}")
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is not a safetensors file ({error}). {advice}") from error


def read_card_file(path: Path, parse: Callable[[str], Card]) -> Card:
    """The card beside a weights file, read by `parse`.

    Raises
    ------
    ModelError
        If it is missing or broken.
    """
    try:
        return parse(card_path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"the model {path} needs its card {card_path(path).name} beside it, which cannot be "
            f"read ({error}): copy both files, or make the model again"
        ) from error
    except ModelError as error:
        raise ModelError(f"{card_path(path)}: {error}") from error
