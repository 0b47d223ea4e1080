"""How far a student's answers are from its teacher's, besides their attention (METHOD.md section 1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

TEMPERATURE = 5.0


def logits_kl(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float = TEMPERATURE
) -> torch.Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) / B, from logits.

    Parameters
    ----------
    student, teacher : torch.Tensor
        Logits (B, classes).
    temperature : float
        T; HM-KD's 5 by default.

    Returns
    -------
    torch.Tensor
        A scalar in the precision of the student's logits, at least float32.
    """
    # The term is small beside its parts: float32 would keep three digits. MPS has no float64.
    dtype = torch.float32 if student.device.type == "mps" else torch.float64
    divergence = functional.kl_div(
        (student.to(dtype) / temperature).log_softmax(dim=1),
        (teacher.to(dtype) / temperature).log_softmax(dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * divergence.to(torch.promote_types(student.dtype, torch.float32))


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
