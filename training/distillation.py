"""What a student learns from: named, weighted terms over the two networks' outputs."""

from __future__ import annotations

from typing import Protocol

import torch

from napari_hmkd.errors import ModelError
from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training import losses
from napari_hmkd.training.config import DistillationSettings

Parts = dict[str, torch.Tensor]


class Distillation(Protocol):
    """A method of distillation; `needs_*` say what the networks have to compute."""

    needs_teacher: bool
    needs_attention: bool

    def parts(
        self, student: StudentOutput, teacher: TeacherOutput | None, grade: torch.Tensor
    ) -> Parts:
        """The unweighted terms by name."""
        ...

    def total(self, parts: Parts) -> torch.Tensor:
        """The weighted sum to be minimised."""
        ...


class Hmkd:
    """HM-KD (METHOD.md section 1): label, grades, pooled features, attention.

    Tian, Guo, Huang et al., IEEE JBHI 2026, doi 10.1109/JBHI.2026.3684467.
    """

    def __init__(self, settings: DistillationSettings) -> None:
        self.settings = settings
        self.weights = {
            name: getattr(settings, name)
            for name in ("cross_entropy", "logits_kl", "cosine", "attention")
            if getattr(settings, name) > 0
        }
        self.needs_teacher = bool(self.weights.keys() - {"cross_entropy"})
        self.needs_attention = "attention" in self.weights

    def parts(
        self, student: StudentOutput, teacher: TeacherOutput | None, grade: torch.Tensor
    ) -> Parts:
        """The unweighted terms whose weight is not 0, scalars."""
        parts: Parts = {}
        if "cross_entropy" in self.weights:
            parts["cross_entropy"] = losses.cross_entropy(student.logits, grade)
        if teacher is None:
            return parts
        if "logits_kl" in self.weights:
            parts["logits_kl"] = losses.logits_kl(
                student.logits, teacher.logits, self.settings.temperature
            )
        if "cosine" in self.weights:
            parts["cosine"] = losses.cosine_loss(
                student.pooled, teacher.pooled, reduction=self.settings.cosine_reduction.value
            )
        if "attention" in self.weights:
            if student.attention is None or teacher.attention is None:
                raise ModelError("the attention term needs networks that return their attention")
            parts["attention"] = losses.attention_loss(student.attention, teacher.attention.he)
        return parts

    def total(self, parts: Parts) -> torch.Tensor:
        """The weighted sum."""
        return torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
