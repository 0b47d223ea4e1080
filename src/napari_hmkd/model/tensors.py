"""Named tensors against the network they are meant for."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from napari_hmkd.errors import ModelError


def check_tensors(
    tensors: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], what: str
) -> None:
    """Require the names, shapes and kinds of a network's tensors, and values that float32 holds.

    Raises
    ------
    ModelError
        Naming the first tensor that differs.
    """
    for name, tensor in wanted.items():
        if name not in tensors:
            raise ModelError(f"{what} lacks the tensor {name} of shape {tuple(tensor.shape)}")
        found = tensors[name]
        if found.shape != tensor.shape:
            raise ModelError(
                f"{what} has {name} of shape {tuple(found.shape)}, where this network "
                f"needs {tuple(tensor.shape)}: they are of different networks"
            )
        if tensor.is_floating_point():
            right = found.is_floating_point()
        else:  # a count, which is often cast with all else
            right = not found.is_complex() and not (found.float() % 1).any()
        if not right:
            kinds = [str(one.dtype).removeprefix("torch.") for one in (found, tensor)]
            raise ModelError(
                f"{what} has {name} of {kinds[0]}, where this network needs {kinds[1]}: save it again in that"
            )
        if not found.float().isfinite().all():
            raise ModelError(f"{what} has values in {name} that are not finite in float32")
    if extra := sorted(tensors.keys() - wanted.keys()):
        raise ModelError(f"{what} has a tensor {extra[0]} that this network does not know")
