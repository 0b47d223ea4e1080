"""Import of checkpoints of the published program: torch files, read without running their code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.serialization import safe_globals

from napari_hmkd.errors import ModelError
from napari_hmkd.model.checkpoint import Network, blank, fill
from napari_hmkd.model.published import own_names
from napari_hmkd.model.tensors import check_tensors

# The scores stored beside the weights may be NumPy scalars, which are data and no code. Files
# written before NumPy 2 name their constructor by its old home.
_scalar: Any = np.float64(0).__reduce__()[0]
_SCALARS = [
    _scalar,
    (_scalar, "numpy.core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float32", "float64", "int64")),
]


def import_published(path: str | os.PathLike[str], role: str) -> Network:
    """Read a checkpoint of the published HM-KD program.

    Parameters
    ----------
    path : path-like
        A torch file: ``{epoch, state_dict, ...}`` or the state dict alone.
    role : {"teacher", "student"}
        Which of the two networks it holds.

    Returns
    -------
    Teacher or Student
        Of the published size, in eval mode, float32.

    Raises
    ------
    ModelError
        If the file is missing or broken, holds code, or holds other tensors.
    """
    path = Path(path)
    module = blank(role, width=1.0)
    found, own = _state_dict(path), module.state_dict()
    names = own_names(own)
    wanted = {published: own[name] for published, name in names.items()}
    check_tensors(found, wanted, f"{path}, read as the published {role},")
    return fill(module, {names[published]: tensor for published, tensor in found.items()})


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a torch file by their published names."""
    if not os.path.isfile(path):  # pathlib raises in a folder that may not be entered
        raise ModelError(f"there is no checkpoint {path}")
    try:
        with safe_globals(_SCALARS):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail in any way
        raise ModelError(
            f"{path} cannot be read as a torch checkpoint of plain tensors: it is damaged, of "
            f"another kind, or holds code, which is never run ({type(error).__name__})"
        ) from error
    if isinstance(found, Mapping):
        found = found.get("state_dict", found)
    if not (isinstance(found, Mapping) and found and all(map(_has_values, found.values()))):
        raise ModelError(
            f"{path} holds no state dict: a checkpoint of the published program is "
            "{epoch, state_dict, ...} or a dict of tensors"
        )
    # DataParallel puts `module.` before each name.
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


def _has_values(tensor: object) -> bool:
    return (
        isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided and not tensor.is_meta
    )
