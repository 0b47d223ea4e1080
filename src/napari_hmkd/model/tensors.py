"""Named tensors against the network they are meant for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from napari_hmkd.errors import ModelError


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
                f"needs {tuple(tensor.shape)}: they are of different networks"
            )
        if not torch.isfinite(tensors[name]).all():
            raise ModelError(f"{what} has values in {name} that are not finite")
    if extra := sorted(tensors.keys() - wanted.keys()):
        raise ModelError(f"{what} has a tensor {extra[0]} that this network does not know")
