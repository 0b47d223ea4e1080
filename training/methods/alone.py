"""No distillation: the student alone."""

from __future__ import annotations

from typing import ClassVar

import torch

from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training.methods.base import Parts, Rival, Weights


class Alone(Rival):
    """Cross entropy with the label and nothing else; a plain H&E baseline."""

    authors: ClassVar[Weights] = {}

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """None."""
        return {}
