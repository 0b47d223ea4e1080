"""The four terms of HM-KD (METHOD.md section 1).

Tian, Guo, Huang et al., IEEE JBHI 2026, doi 10.1109/JBHI.2026.3684467. All are computed in float32
whatever precision the networks run in, and give no gradient to the teacher by themselves: pass
outputs of a frozen one.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from napari_hmkd.model import discrepancy
from napari_hmkd.model.attention_rows import AttentionRows, Level, as_matrix
from napari_hmkd.model.closeness import cosine_loss, logits_kl
from napari_hmkd.model.outputs import Levels
from napari_hmkd.model.row_distance import row_distance

__all__ = ["attention_loss", "attention_losses", "cosine_loss", "cross_entropy", "logits_kl"]


def cross_entropy(logits: torch.Tensor, grade: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of logits (B, 4) towards grades (B,), int64 0 to 3."""
    return functional.cross_entropy(logits.float(), grade)


def attention_losses(student: Levels, teacher: Levels) -> torch.Tensor:
    """(1/B) sum_i || u(A_s^i) - u(A_t^i) ||^2 of each level, a tensor (levels,).

    Parameters
    ----------
    student, teacher : tuple of torch.Tensor or AttentionRows
        The raw matrices (B, N, N) of each level, or their rows; of the teacher those of H&E.

    Raises
    ------
    ValueError
        If the levels or their shapes differ.
    """
    return torch.stack([_distance(s, t).mean() for s, t in zip(student, teacher, strict=True)])


def _distance(student: Level, teacher: Level) -> torch.Tensor:
    """Of each tile, (B,)."""
    if isinstance(student, AttentionRows):
        return row_distance(student, teacher)
    return discrepancy(student, as_matrix(teacher)).sum(dim=(1, 2))


def attention_loss(student: Levels, teacher: Levels) -> torch.Tensor:
    """The sum over the levels of `attention_losses`."""
    return attention_losses(student, teacher).sum()
