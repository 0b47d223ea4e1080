"""The two training tasks as Lightning modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import lightning
import torch
from torch import nn
from torchmetrics import SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassCohenKappa

from napari_hmkd.model import ModelCard
from napari_hmkd.training import losses
from napari_hmkd.training.config import OptimiserSettings
from napari_hmkd.training.data import Batch
from napari_hmkd.training.distillation import Distillation, Parts
from napari_hmkd.training.graders import Grader
from napari_hmkd.training.optimisers import optimiser_and_schedule

GRADES = 4


class GradingTask(lightning.LightningModule, ABC):
    """What teacher and student share: optimiser, scores on validation tiles, logging.

    Validation scores are `validation_kappa` (quadratic weights), `validation_accuracy` and
    `validation_not_finite`, the number of tiles answered with NaN or infinity. One such tile makes
    the kappa -1, so that the checkpoint is not picked where another one answers them all.
    """

    def __init__(self, network: nn.Module, card: ModelCard, optimiser: OptimiserSettings) -> None:
        super().__init__()
        self.network, self.card, self.optimiser = network, card, optimiser
        self.kappa = MulticlassCohenKappa(GRADES, weights="quadratic")
        self.accuracy = MulticlassAccuracy(GRADES, average="micro")
        self.not_finite = SumMetric()

    @abstractmethod
    def parts(self, batch: Batch) -> Parts:
        """The named terms of the loss on a batch."""

    @abstractmethod
    def total(self, parts: Parts) -> torch.Tensor:
        """The loss to be minimised."""

    @abstractmethod
    def logits(self, batch: Batch) -> torch.Tensor:
        """(B, 4) of the network that is trained."""

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """The loss; it and its parts are logged as means over the epoch."""
        parts = self.parts(batch)
        loss = self.total(parts)
        named = {f"train_{name}": part.detach() for name, part in parts.items()}
        self.log_dict(
            {"train_loss": loss.detach(), **named},
            on_step=False,
            on_epoch=True,
            batch_size=len(batch.grade),
        )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the scores."""
        logits = self.logits(batch).float()
        self.not_finite.update(not_finite(logits))
        self.kappa.update(logits, batch.grade)
        self.accuracy.update(logits, batch.grade)
        entropy = losses.cross_entropy(logits, batch.grade)
        self.log("validation_cross_entropy", entropy, batch_size=len(batch.grade))

    def on_validation_epoch_end(self) -> None:
        """Log the scores; kappa is undefined where all tiles share one grade, and counts as 0."""
        unanswered = self.not_finite.compute()
        kappa = torch.nan_to_num(self.kappa.compute())
        self.log("validation_kappa", torch.where(unanswered > 0, -1.0, kappa))
        self.log("validation_accuracy", self.accuracy.compute())
        self.log("validation_not_finite", unanswered)
        for metric in (self.kappa, self.accuracy, self.not_finite):
            metric.reset()

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser with its schedule, stepped per batch."""
        steps = int(self.trainer.estimated_stepping_batches)
        epochs = self.trainer.max_epochs or 1
        optimiser, schedule = optimiser_and_schedule(
            self.network, self.optimiser, steps=steps, steps_per_epoch=max(steps // epochs, 1)
        )
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def not_finite(logits: torch.Tensor) -> torch.Tensor:
    """How many tiles of (B, 4) logits have a value that is NaN or infinite."""
    return (~logits.isfinite()).any(1).sum()


class TeacherTask(GradingTask):
    """Cross entropy of the grade from both stains."""

    def parts(self, batch: Batch) -> Parts:
        """Cross entropy alone."""
        return {"cross_entropy": losses.cross_entropy(self.logits(batch), batch.grade)}

    def total(self, parts: Parts) -> torch.Tensor:
        """The one part."""
        return parts["cross_entropy"]

    def logits(self, batch: Batch) -> torch.Tensor:
        """(B, 4) from H&E and IHC."""
        card = self.card
        return self.network(card.normalise(batch.he), card.normalise(batch.ihc)).logits


class StudentTask(GradingTask):
    """A student on H&E that learns from labels and from a frozen teacher on both stains."""

    def __init__(
        self,
        network: nn.Module,
        card: ModelCard,
        optimiser: OptimiserSettings,
        distillation: Distillation,
        teacher: Grader,
    ) -> None:
        super().__init__(network, card, optimiser)
        self.distillation, self.teacher_card = distillation, teacher.card
        self.teacher = teacher.network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> StudentTask:
        """Set the mode of the student; the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def parts(self, batch: Batch) -> Parts:
        """The terms of the distillation."""
        method = self.distillation
        student = self.network(self.card.normalise(batch.he), attention=method.needs_attention)
        teacher = None
        if method.needs_teacher:
            normalise = self.teacher_card.normalise
            with torch.no_grad():
                teacher = self.teacher(
                    normalise(batch.he), normalise(batch.ihc), attention=method.needs_attention
                )
        return method.parts(student, teacher, batch.grade)

    def total(self, parts: Parts) -> torch.Tensor:
        """The weighted sum of the terms."""
        return self.distillation.total(parts)

    def logits(self, batch: Batch) -> torch.Tensor:
        """(B, 4) from H&E alone."""
        return self.network(self.card.normalise(batch.he)).logits

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the teacher out: it has a file of its own."""
        weights = checkpoint["state_dict"]
        for key in [key for key in weights if key.startswith("teacher.")]:
            del weights[key]
