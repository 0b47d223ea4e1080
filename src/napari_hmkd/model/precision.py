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
