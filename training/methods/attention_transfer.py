"""Attention transfer: where the activations are."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training.methods.base import Parts, Rival, Weights, same_grid


class AttentionTransfer(Rival):
    """Activation-based attention of each stage: squares summed over channels, of norm 1 per tile.

    Zagoruyko, Komodakis, ICLR 2017, arXiv 1612.03928. Their program takes the mean over the grid,
    the sum over the stages and the weight 1000.
    """

    authors: ClassVar[Weights] = {"attention_transfer": 1000.0}

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """The sum over the stages of the mean squared difference."""
        pairs = [same_grid(*pair) for pair in zip(student.maps, teacher.maps, strict=True)]
        stages = [functional.mse_loss(activation(own), activation(taught)) for own, taught in pairs]
        return {"attention_transfer": torch.stack(stages).sum()}


def activation(features: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) -> (B, h w), the mean of squares over the channels, of norm 1."""
    return functional.normalize(features.square().mean(dim=1).flatten(1))
