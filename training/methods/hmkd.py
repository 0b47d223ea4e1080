"""HM-KD: label, grades, pooled features and attention, each a named and weighted term."""

from __future__ import annotations

import torch
from torch import nn

from napari_hmkd.errors import ModelError
from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training.config import DistillationSettings
from napari_hmkd.training.methods import losses
from napari_hmkd.training.methods.base import LABEL, Distillation, Parts

TERMS = (LABEL, "logits_kl", "cosine", "attention")


class Hmkd(Distillation):
    """HM-KD (METHOD.md section 1): label, grades, pooled features, attention.

    Tian, Guo, Huang et al., IEEE JBHI 2026, doi 10.1109/JBHI.2026.3684467.

    Parameters
    ----------
    settings : DistillationSettings
        The weight of each term, the temperature, and how the cosine term joins a batch.
    projection : torch.nn.Linear, optional
        Brings the student's pooled features to the teacher's width; learned with the student.
    """

    def __init__(self, settings: DistillationSettings, projection: nn.Linear | None = None) -> None:
        super().__init__({name: getattr(settings, name) for name in TERMS})
        self.settings = settings
        self.projection = projection or nn.Identity()
        self.needs_attention = "attention" in self.weights

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """Grades, pooled features and attention, where their weight is not 0."""
        parts: Parts = {}
        if "logits_kl" in self.weights:
            parts["logits_kl"] = losses.logits_kl(
                student.logits, teacher.logits, self.settings.temperature
            )
        if "cosine" in self.weights:
            parts["cosine"] = losses.cosine_loss(
                self.projection(student.pooled.float()),
                teacher.pooled,
                reduction=self.settings.cosine_reduction.value,
            )
        if "attention" in self.weights:
            if student.attention is None or teacher.attention is None:
                raise ModelError("the attention term needs networks that return their attention")
            parts["attention"] = losses.attention_loss(student.attention, teacher.attention.he)
        return parts
