"""DIST: correlation with the teacher instead of equality."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training.methods.base import Parts, Rival, Weights


class Dist(Rival):
    """1 less Pearson's correlation of the probabilities, over each tile and over each grade.

    Huang et al., NeurIPS 2022, arXiv 2205.10536, equations 6 to 9, with the weights 1 and 1 and
    the temperature 1 of their program.
    """

    authors: ClassVar[Weights] = {"inter": 1.0, "intra": 1.0}

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """Between the grades of each tile, and between the tiles for each grade."""
        own, taught = (output.logits.float().softmax(dim=1) for output in (student, teacher))
        return {"inter": uncorrelated(own, taught), "intra": uncorrelated(own.T, taught.T)}


def uncorrelated(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 less Pearson's correlation of rows of (n, m), a mean; 1 for a row that is constant."""
    a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
    return 1 - functional.cosine_similarity(a, b, dim=1).mean()
