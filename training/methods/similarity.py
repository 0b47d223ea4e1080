"""Similarity-preserving distillation: which tiles of a batch are alike."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training.methods.base import Parts, Rival, Weights


class Similarity(Rival):
    """Squared difference of the matrices of inner products between the tiles of a batch.

    Tung, Mori, ICCV 2019, arXiv 1907.09682, equations 1 to 4, at the end of the last stage, with
    the paper's weight 3000.
    """

    authors: ClassVar[Weights] = {"similarity": 3000.0}

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """The mean over the B x B pairs."""
        own, taught = (similarities(output.maps[-1]) for output in (student, teacher))
        return {"similarity": functional.mse_loss(own, taught)}


def similarities(features: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) -> (B, B), inner products between tiles, each row of norm 1."""
    flat = features.float().flatten(1)
    return functional.normalize(flat @ flat.T)
