"""A v, by the fastest way there is to the formula's numbers."""

from __future__ import annotations

import torch
from torch import nn

from napari_hmkd.model.planes import MAPS, AttentionForm, AttentionPlanes, attend
from napari_hmkd.model.row_blocks import attend_by_blocks
from napari_hmkd.model.row_gradients import attend_by_rows, attention_by_rows

TOKENS_PER_CHANNEL = 12
"""From so many on, products of channels with channels, from which `attend_by_rows` has the scores'
statistics, cost less than the planes."""


def gather(
    planes: AttentionPlanes,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    keep: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What queries gather from the values of the keys they look at.

    Parameters
    ----------
    planes : AttentionPlanes
        From queries and keys to A.
    query, key : torch.Tensor
        As `AttentionPlanes.forward` takes them.
    value : torch.Tensor
        (B, C, h, w).
    keep : bool
        Whether A is asked for, too.

    Returns
    -------
    tuple
        A v, float32 (B, C, h, w), and A, float32 (B, N, N) or None.
    """
    if planes.form == "auto" and _by_blocks(planes, key):
        return attend_by_blocks(planes, query, key, value, keep)
    by_rows = planes.form == "auto" and _by_rows(planes, key)
    if by_rows and not keep:
        return attend_by_rows(planes, query, key, value), None
    attention = attention_by_rows(planes, query, key) if by_rows else planes(query, key)
    return attend(attention, value), attention if keep else None


def set_attention_form(network: nn.Module, form: AttentionForm) -> None:
    """Choose for all attention of a network how it is computed; the numbers stay the same.

    Parameters
    ----------
    network : torch.nn.Module
        A teacher or a student.
    form : {"auto", "plain"}
        "plain" computes whole planes, as the formula reads. "auto" does so only where nothing faster is
        known: on a CPU, in evaluation and without gradients, it goes by blocks of rows
        (`attend_by_blocks`), and in training, where planes are to be computed twice, by such blocks
        with gradients (`attend_by_rows`).
    """
    for module in network.modules():
        if isinstance(module, AttentionPlanes):
            module.form = form


def _by_blocks(planes: AttentionPlanes, key: torch.Tensor) -> bool:
    """Whether blocks of rows can be computed, and are faster.

    On a CPU, where they stay in the cache. They have no gradients, and their loop would be unrolled by
    those who record what a network does.
    """
    return not planes.training and not torch.is_grad_enabled() and _loops_on_cpu(key)


def _by_rows(planes: AttentionPlanes, key: torch.Tensor) -> bool:
    """Whether training is to save memory, and does so faster without planes."""
    channels, tokens = key.shape[1] // MAPS, key.shape[2] * key.shape[3]
    return planes.again and tokens >= TOKENS_PER_CHANNEL * channels and _loops_on_cpu(key)


def _loops_on_cpu(key: torch.Tensor) -> bool:
    recorded = torch.jit.is_tracing() or torch.compiler.is_compiling()
    return key.device.type == "cpu" and not recorded
