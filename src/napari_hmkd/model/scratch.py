"""Memory that a thread keeps for what it computes with, one block after the other.

The system gives a few MB anew each time, with a fault for each page, and takes them back when they are
free: 1.5 ms for a thread's blocks of attention, of which all take 10 ms.
"""

from __future__ import annotations

from math import prod
from threading import local

import torch

MOST_KEPT_BYTES = 2**21
"""Of one tensor. A thread's blocks are above that only for tiles of thousands of pixels."""


class _Kept(local):
    """What a thread keeps."""

    def __init__(self) -> None:
        self.memory: dict[tuple[int, torch.dtype], torch.Tensor] = {}


_kept = _Kept()


def scratch(like: torch.Tensor, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    """Tensors on a CPU with whatever numbers, which are this thread's until its next call.

    Parameters
    ----------
    like : torch.Tensor
        Of the dtype that they are to have.
    *shapes : tuple of int
        A tensor for each.
    """
    return [_flat(place, like.dtype, prod(shape)).view(shape) for place, shape in enumerate(shapes)]


def _flat(place: int, dtype: torch.dtype, elements: int) -> torch.Tensor:
    kept = _kept.memory.get((place, dtype))
    if kept is None or len(kept) < elements:
        with torch.inference_mode(False):  # one of that mode could not be written to outside it
            kept = torch.empty(elements, dtype=dtype, device="cpu")
        if kept.nbytes <= MOST_KEPT_BYTES:
            _kept.memory[place, dtype] = kept
    return kept[:elements]
