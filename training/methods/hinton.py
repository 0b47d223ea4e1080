"""Knowledge distillation of the softened grades."""

from __future__ import annotations

from typing import ClassVar

import torch

from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training.config import DistillationSettings
from napari_hmkd.training.methods import losses
from napari_hmkd.training.methods.base import Parts, Rival, Weights


class Hinton(Rival):
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), at the T of the settings.

    Hinton, Vinyals, Dean, arXiv 1503.02531, 2015. The paper weighs the label "considerably lower"
    and names no number: 1 is the weight HM-KD gives the same term.
    """

    authors: ClassVar[Weights] = {"logits_kl": 1.0}

    def __init__(self, settings: DistillationSettings) -> None:
        super().__init__(settings)
        self.temperature = settings.temperature

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """The divergence, a mean over the tiles."""
        return {"logits_kl": losses.logits_kl(student.logits, teacher.logits, self.temperature)}
