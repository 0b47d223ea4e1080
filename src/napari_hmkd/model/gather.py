"""A v, by the fastest way there is to the formula's numbers."""

from __future__ import annotations

from typing import get_args

import torch
from torch import nn

from napari_hmkd.model.attention_rows import Kept, Level, rows_as_they_are
from napari_hmkd.model.planes import MAPS, AttentionForm, AttentionPlanes, attend
from napari_hmkd.model.recording import is_recorded
from napari_hmkd.model.row_blocks import attend_by_blocks
from napari_hmkd.model.row_gradients import attend_by_rows, attend_with_rows
from napari_hmkd.model.triton_attention import (
    DTYPES,
    attend_by_triton,
    load_kernels,
    runs_kernels,
)

TOKENS_PER_CHANNEL = 12
"""From so many on, products of channels with channels, from which `attend_by_rows` has the scores'
statistics, cost less than the planes."""


def gather(
    planes: AttentionPlanes,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    keep: Kept = False,
) -> tuple[torch.Tensor, Level | None]:
    """What queries gather from the values of the keys they look at.

    Parameters
    ----------
    planes : AttentionPlanes
        From queries and keys to A.
    query, key : torch.Tensor
        As `AttentionPlanes.forward` takes them.
    value : torch.Tensor
        (B, C, h, w).
    keep : bool or "rows"
        Whether A is asked for, too; "rows" is for who only compares it with another one.

    Returns
    -------
    tuple
        A v, float32 (B, C, h, w), and A, float32 (B, N, N) or None; `AttentionRows` if "rows" were
        asked for, and memory is to be saved.
    """
    if not keep and _by_kernels(planes, key):
        return attend_by_triton(planes, query, key, value), None
    if planes.form == "auto" and _by_blocks(planes, key):
        if keep == "rows" and _saves_planes(planes, key):
            out, _ = attend_by_blocks(planes, query, key, value)
            return out, rows_as_they_are(planes, query, key)
        return attend_by_blocks(planes, query, key, value, bool(keep))
    if planes.form == "auto" and _trains_by_rows(planes, key):
        if keep == "rows":
            return attend_with_rows(planes, query, key, value)
        if not keep:
            return attend_by_rows(planes, query, key, value), None
    attention = planes(query, key)
    return attend(attention, value), attention if keep else None


def set_attention_form(network: nn.Module, form: AttentionForm) -> None:
    """Choose for all attention of a network how it is computed; the numbers stay the same.

    Parameters
    ----------
    network : torch.nn.Module
        A teacher or a student.
    form : {"auto", "plain", "triton"}
        "plain" computes whole planes, as the formula reads. "auto" does so only where nothing faster is
        known: in evaluation and without gradients it goes on a CPU by blocks of rows
        (`attend_by_blocks`), and on a CUDA device that `runs_kernels` by Triton's kernels
        (`attend_by_triton`); on a CPU in training, where planes are to be computed twice, by blocks with
        gradients (`attend_by_rows`). "triton" insists on the kernels, where "auto" would take them.

    Raises
    ------
    ValueError
        If there is no such form.
    DeviceError
        If "triton" is asked for, and not installed. On another device the network's answer raises it.
    """
    if form not in get_args(AttentionForm):
        raise ValueError(
            f"attention is computed in one of the forms {get_args(AttentionForm)}, got {form!r}"
        )
    if form == "triton":
        load_kernels()
    for module in network.modules():
        if isinstance(module, AttentionPlanes):
            module.form = form


def _by_blocks(planes: AttentionPlanes, key: torch.Tensor) -> bool:
    """Whether blocks of rows can be computed, and are faster.

    On a CPU, where they stay in the cache. They have no gradients, and their loop would be unrolled by
    those who record what a network does.
    """
    return _only_answers(planes) and _loops_on_cpu(key)


def _by_kernels(planes: AttentionPlanes, key: torch.Tensor) -> bool:
    """Whether Triton's kernels are asked for, or are there and faster; they give no A, and no gradients."""
    if planes.form == "plain" or not _only_answers(planes):
        return False
    return runs_kernels(key.device, key.dtype) if planes.form == "auto" else key.dtype in DTYPES


def _saves_planes(planes: AttentionPlanes, key: torch.Tensor) -> bool:
    """Whether memory is to be saved, and is so faster without planes."""
    channels, tokens = key.shape[1] // MAPS, key.shape[2] * key.shape[3]
    return planes.recompute and tokens >= TOKENS_PER_CHANNEL * channels and _loops_on_cpu(key)


def _trains_by_rows(planes: AttentionPlanes, key: torch.Tensor) -> bool:
    """Whether a step is under way that saves planes; a norm may be frozen in it, and has no part of it."""
    return planes.again and planes.norm.training and _saves_planes(planes, key)


def _loops_on_cpu(key: torch.Tensor) -> bool:
    return key.device.type == "cpu" and not is_recorded()


def _only_answers(planes: AttentionPlanes) -> bool:
    """Whether a network answers, and neither gradients nor a record of what it does are wanted.

    The norm is asked: it may take the statistics of its batch in a network that is in evaluation.
    """
    return not planes.norm.training and not torch.is_grad_enabled() and not is_recorded()
