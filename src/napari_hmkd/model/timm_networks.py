"""Networks of timm (Wightman 2019, doi 10.5281/zenodo.4414861), built from local files alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_hmkd.errors import ModelError

PREFIX = "timm:"


def create(name: str, refusal: str, **options: Any) -> nn.Module:
    """A network of timm with fresh weights; nothing is downloaded.

    Parameters
    ----------
    name : str
        Of timm's networks, such as "resnet18".
    refusal : str
        See `refusals`.
    **options
        As `timm.create_model` takes them.

    Raises
    ------
    ModelError
        If there is no such network, or it does not take the options.
    """
    import timm  # takes longer than torch, and this project's own networks need none of it

    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=5, cutoff=0.4)
        raise ModelError(
            f"timm {timm.__version__} has no network {name!r}; "
            f"the nearest names are {', '.join(near) or 'listed by timm.list_models()'}"
        )
    with refusals(name, refusal):
        return timm.create_model(name, pretrained=False, **options)


@contextmanager
def refusals(name: str, refusal: str) -> Iterator[None]:
    """Turn whatever timm finds wrong into a `ModelError`.

    Parameters
    ----------
    name : str
        The network's.
    refusal : str
        What it cannot be, with "{reason}" in the place of timm's words.
    """
    try:
        yield
    # No two networks of timm refuse alike.
    except (RuntimeError, TypeError, ValueError, LookupError, AssertionError, AttributeError) as e:
        reason = str(e).partition("\n")[0] or type(e).__name__
        raise ModelError(f"{PREFIX}{name} {refusal.format(reason=reason)}") from e


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of weights (.safetensors, .pth, .bin), read without running code of its own.

    Raises
    ------
    ModelError
        If there is no such file, or it is damaged or of another kind.
    """
    from timm.models import load_state_dict

    if not os.path.isfile(path):  # pathlib raises in a folder that may not be entered
        raise ModelError(f"there is no file of weights {path}")
    try:
        found = load_state_dict(str(path), weights_only=True)
        return {str(name): torch.as_tensor(tensor) for name, tensor in found.items()}
    except Exception as error:  # a damaged pickle can fail in any way
        raise ModelError(
            f"{path} cannot be read as weights of timm: it is damaged, of another kind, or holds "
            f"code, which is never run ({type(error).__name__})"
        ) from error
