"""Decoupled knowledge distillation: the label's grade, and the order of the others."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training.methods.base import Parts, Rival, Weights

TEMPERATURE = 4.0


class Decoupled(Rival):
    """T^2 KL of the label's grade against the rest (TCKD), and within the rest (NCKD).

    Zhao et al., CVPR 2022, arXiv 2203.08679, equation 7, with the weights 1 and 8 and T = 4 of
    their program; its warm-up over 20 of 240 epochs is left out.
    """

    authors: ClassVar[Weights] = {"target": 1.0, "others": 8.0}

    @property
    def needs_labels(self) -> bool:
        """Always: both terms split the grades at the label."""
        return True

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """TCKD and NCKD, a mean over the tiles each."""
        own, taught = (split(output.logits, grade) for output in (student, teacher))
        return {
            name: TEMPERATURE**2 * functional.kl_div(s, t, reduction="batchmean", log_target=True)
            for name, s, t in zip(self.authors, own, taught, strict=True)
        }


def split(logits: torch.Tensor, grade: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities (B, 2) of the label's grade and of all others, and (B, 3) within these."""
    softened = logits.float() / TEMPERATURE
    is_label = functional.one_hot(grade, logits.shape[1]).bool()
    label = softened[is_label][:, None]
    others = softened[~is_label].unflatten(0, (len(logits), -1))
    binary = torch.cat([label, others.logsumexp(dim=1, keepdim=True)], dim=1)
    return binary.log_softmax(dim=1), others.log_softmax(dim=1)
