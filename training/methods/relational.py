"""Relational knowledge distillation: distances and angles among the tiles of a batch."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training.methods.base import Parts, Rival, Weights

SMALLEST = 1e-12  # below the square root, whose gradient at 0 is infinite


class Relational(Rival):
    """Huber loss of distances between two tiles and of cosines of angles among three.

    Park et al., CVPR 2019, arXiv 1904.05068, on the pooled features, with the authors' weights 25
    and 50. As in their program, the mean is over all B x B pairs and B x B x B triplets.
    """

    authors: ClassVar[Weights] = {"distance": 25.0, "angle": 50.0}

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """Distances and angles, a mean each."""
        own, taught = (differences(output.pooled) for output in (student, teacher))
        return {
            "distance": functional.smooth_l1_loss(distances(own), distances(taught)),
            "angle": functional.smooth_l1_loss(angles(own), angles(taught)),
        }


def differences(features: torch.Tensor) -> torch.Tensor:
    """(B, C) -> (B, B, C), each tile's features less each other's."""
    features = features.float()
    return features[:, None] - features[None]


def distances(difference: torch.Tensor) -> torch.Tensor:
    """(B, B, C) -> (B, B), in units of the mean distance between two different tiles."""
    distance = difference.square().sum(dim=2).clamp(min=SMALLEST).sqrt()
    apart = 1 - torch.eye(len(distance), device=distance.device)
    distance = distance * apart
    return distance / (distance.sum() / apart.sum())


def angles(difference: torch.Tensor) -> torch.Tensor:
    """(B, B, C) -> (B, B, B), the cosine at each tile of the angle between two others."""
    directions = functional.normalize(difference, dim=2)
    return directions @ directions.transpose(1, 2)
