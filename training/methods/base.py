"""What a method of distillation offers, and the parts that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import nn

from napari_hmkd.errors import DataError
from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.model.precision import float32_island
from napari_hmkd.training.methods import losses

Weights = Mapping[str, float]
Parts = dict[str, torch.Tensor]
LABEL = "cross_entropy"


class Distillation(nn.Module, ABC):
    """Cross entropy with the label, plus named and weighted terms that need a teacher.

    It is a module, so that layers of its own are trained and saved with the student.

    Parameters
    ----------
    weights : mapping of str to float
        Weight of each term; one of weight 0 is not computed.

    Attributes
    ----------
    needs_attention : bool
        Whether both networks have to return their attention matrices.

    Raises
    ------
    DataError
        If every weight is 0.
    """

    needs_attention: bool = False

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}
        if not self.weights:
            raise DataError(
                f"nothing to learn from: the weights of {', '.join(weights)} are 0; raise one"
            )

    @property
    def needs_teacher(self) -> bool:
        """Whether a term besides the cross entropy is left."""
        return bool(self.weights.keys() - {LABEL})

    @property
    def needs_labels(self) -> bool:
        """Whether a term reads the grade."""
        return LABEL in self.weights

    def parts(
        self, student: StudentOutput, teacher: TeacherOutput | None, grade: torch.Tensor
    ) -> Parts:
        """The unweighted terms by name, float32 scalars.

        Parameters
        ----------
        student, teacher : StudentOutput, TeacherOutput
            Of one batch; the teacher's without gradients, None where none is needed.
        grade : torch.Tensor
            int64 (B,), 0 to 3, or -1 where the tile has no label.
        """
        parts: Parts = {}
        if LABEL in self.weights:
            parts[LABEL] = losses.cross_entropy(student.logits, grade)
        if self.needs_teacher:
            if teacher is None:
                raise ValueError(f"{type(self).__name__} compares with a teacher, got none")
            # Norms and products of features do not survive half precision.
            with float32_island(student.logits):
                parts |= self.terms(student, teacher, grade)
        return parts

    @abstractmethod
    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """The unweighted terms that compare with the teacher; called with autocast off."""

    def total(self, parts: Parts) -> torch.Tensor:
        """The weighted sum to be minimised."""
        return torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
