"""Where half precision would overflow, the networks compute in float32 whatever autocast says."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def float32_island(tensor: torch.Tensor) -> AbstractContextManager[None]:
    """Switch autocast off on the device of a tensor.

    S softmax(S) is not bounded, and neither is what is added up along the blocks. Only layers fed
    by a norm stay outside the islands; they hold most of the arithmetic.
    """
    if not torch.amp.is_autocast_available(tensor.device.type):
        return nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as float32, or as it is where it has more."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def wide_range(tensor: torch.Tensor) -> AbstractContextManager[None]:
    """Switch autocast to float16 off, which ends at 65504; bfloat16 has float32's range."""
    kind = tensor.device.type
    autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    narrow = autocast and torch.get_autocast_dtype(kind) is torch.float16
    return float32_island(tensor) if narrow else nullcontext()
