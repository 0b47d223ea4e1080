"""FitNets: a hint from the middle of the teacher."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training.config import DistillationSettings
from napari_hmkd.training.methods.base import Parts, Rival, Weights, same_grid

MIDDLE = 1
"""The second of four stages ends half way through both networks."""


class FitNets(Rival):
    """Mean squared error of the middle stage's map, through a learned 1x1 regressor.

    Romero et al., ICLR 2015, arXiv 1412.6550. The paper trains the hint first and the label
    later; here both are learned at once, as in RepDistiller (Tian, Krishnan, Isola, ICLR 2020),
    whose script gives the weight 100.

    Parameters
    ----------
    settings : DistillationSettings
        The weights.
    student_channels, teacher_channels : int
        Of the maps at the end of the second stage.
    """

    authors: ClassVar[Weights] = {"hint": 100.0}

    def __init__(
        self, settings: DistillationSettings, student_channels: int, teacher_channels: int
    ) -> None:
        super().__init__(settings)
        self.regressor = nn.Conv2d(student_channels, teacher_channels, 1)

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """The mean over tiles, channels and grid."""
        guided, hint = same_grid(student.maps[MIDDLE], teacher.maps[MIDDLE])
        return {"hint": functional.mse_loss(self.regressor(guided), hint)}
