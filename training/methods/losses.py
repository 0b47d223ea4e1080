"""The four terms of HM-KD (METHOD.md section 1).

Tian, Guo, Huang et al., IEEE JBHI 2026, doi 10.1109/JBHI.2026.3684467. All are computed in float32
whatever precision the networks run in, and give no gradient to the teacher by themselves: pass
outputs of a frozen one.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

from napari_hmkd.model import discrepancy
from napari_hmkd.model.outputs import Matrices

TEMPERATURE = 5.0


def cross_entropy(logits: torch.Tensor, grade: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of logits (B, 4) towards grades (B,), int64 0 to 3."""
    return functional.cross_entropy(logits.float(), grade)


def logits_kl(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float = TEMPERATURE
) -> torch.Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) / B, from logits (B, 4).

    Parameters
    ----------
    student, teacher : torch.Tensor
        Logits (B, 4).
    temperature : float
        T; the published 5 by default.
    """
    # The term is small beside its parts: float32 would keep three digits. MPS has no float64.
    dtype = torch.float32 if student.device.type == "mps" else torch.float64
    divergence = functional.kl_div(
        (student.to(dtype) / temperature).log_softmax(dim=1),
        (teacher.to(dtype) / temperature).log_softmax(dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * divergence.float()


def cosine_loss(
    student: torch.Tensor, teacher: torch.Tensor, reduction: Literal["mean", "sum"] = "mean"
) -> torch.Tensor:
    """1 - cosine of the pooled features (B, C), over the batch.

    Parameters
    ----------
    student, teacher : torch.Tensor
        Pooled features (B, C).
    reduction : {"mean", "sum"}
        The published program sums, so that the term grows with the batch.
    """
    losses = 1 - functional.cosine_similarity(student.float(), teacher.float(), dim=1)
    return losses.sum() if reduction == "sum" else losses.mean()


def attention_losses(student: Matrices, teacher: Matrices) -> torch.Tensor:
    """(1/B) sum_i || u(A_s^i) - u(A_t^i) ||^2 of each level, a tensor (levels,).

    Parameters
    ----------
    student, teacher : tuple of torch.Tensor
        The raw matrices (B, N, N) of each level; of the teacher those of H&E.

    Raises
    ------
    ValueError
        If the levels or their shapes differ.
    """
    return torch.stack(
        [discrepancy(s, t).sum(dim=(1, 2)).mean() for s, t in zip(student, teacher, strict=True)]
    )


def attention_loss(student: Matrices, teacher: Matrices) -> torch.Tensor:
    """The sum over the levels of `attention_losses`."""
    return attention_losses(student, teacher).sum()
