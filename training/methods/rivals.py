"""What HM-KD is compared with: published methods of distillation, and none."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.model.outputs import StudentOutput, TeacherOutput
from napari_hmkd.training.config import DistillationSettings
from napari_hmkd.training.methods import losses
from napari_hmkd.training.methods.base import LABEL, Distillation, Parts, Weights

MIDDLE = 1
"""The second of four stages ends half way through both networks."""
DECOUPLED_T = 4.0
SMALLEST = 1e-12  # below the square root, whose gradient at 0 is infinite


class Rival(Distillation):
    """A published method with the weights of its authors.

    `settings.rival_weight` replaces the weight of the first term in `authors`; the others keep
    their ratio to it. At 0 the cross entropy is left alone.
    """

    authors: ClassVar[Weights]
    """Weight of each term, by default."""

    def __init__(self, settings: DistillationSettings) -> None:
        weights, factor = dict(self.authors), 1.0
        if weights and settings.rival_weight is not None:
            factor = settings.rival_weight / next(iter(weights.values()))
        scaled = {name: factor * weight for name, weight in weights.items()}
        super().__init__({LABEL: settings.cross_entropy, **scaled})


class Alone(Rival):
    """Cross entropy with the label and nothing else; a plain H&E baseline."""

    authors: ClassVar[Weights] = {}

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """None."""
        return {}


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


class Decoupled(Rival):
    """T^2 KL of the label's grade against the rest (TCKD), and within the rest (NCKD).

    Zhao et al., CVPR 2022, arXiv 2203.08679, equation 7, with the weights 1 and 8 and T = 4 of
    their program; its warm-up over 20 of 240 epochs is left out.
    """

    authors: ClassVar[Weights] = {"target": 1.0, "others": 8.0}

    @property
    def needs_labels(self) -> bool:
        """Always: both terms split the grades at the label."""
        return True

    def terms(self, student: StudentOutput, teacher: TeacherOutput, grade: torch.Tensor) -> Parts:
        """TCKD and NCKD, a mean over the tiles each."""
        own, taught = (split(output.logits, grade) for output in (student, teacher))
        return {
            name: DECOUPLED_T**2 * functional.kl_div(s, t, reduction="batchmean", log_target=True)
            for name, s, t in zip(self.authors, own, taught, strict=True)
        }


def split(logits: torch.Tensor, grade: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities (B, 2) of the label's grade and of all others, and (B, 3) within these."""
    softened = logits.float() / DECOUPLED_T
    is_label = functional.one_hot(grade, logits.shape[1]).bool()
    label = softened[is_label][:, None]
    others = softened[~is_label].unflatten(0, (len(logits), -1))
    binary = torch.cat([label, others.logsumexp(dim=1, keepdim=True)], dim=1)
    return binary.log_softmax(dim=1), others.log_softmax(dim=1)


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


def same_grid(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two feature maps (B, C, h, w) in float32, averaged onto the coarser of their square grids."""
    side = min(a.shape[-1], b.shape[-1])
    return _averaged(a.float(), side), _averaged(b.float(), side)


def _averaged(x: torch.Tensor, side: int) -> torch.Tensor:
    # Adaptive pooling is the same where the sides divide, but its gradient is not reproducible on
    # CUDA.
    if x.shape[-1] % side == 0:
        return functional.avg_pool2d(x, x.shape[-1] // side)
    return functional.adaptive_avg_pool2d(x, side)
