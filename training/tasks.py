"""The two training tasks as Lightning modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import lightning
import torch
from torch import nn
from torchmetrics import SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassCohenKappa

from napari_hmkd.errors import DataError
from napari_hmkd.model import ModelCard, TeacherOutput
from napari_hmkd.model.attention_rows import Kept
from napari_hmkd.training.config import WITHOUT_GRADES, OptimiserSettings
from napari_hmkd.training.data import Batch
from napari_hmkd.training.graders import Grader
from napari_hmkd.training.methods import losses
from napari_hmkd.training.methods.base import Distillation, Parts
from napari_hmkd.training.optimisers import optimiser_and_schedule
from napari_hmkd.training.tiles import GRADES, TileSource

MONITOR = "validation_kappa"
"""The score that picks the checkpoint of both tasks."""


class TrainingTask(lightning.LightningModule, ABC):
    """What is trained by a loss of named terms, which are logged as `train_loss` and `train_NAME`."""

    @abstractmethod
    def parts(self, batch: Any) -> Parts:
        """The named terms of the loss on a batch."""

    def total(self, parts: Parts) -> torch.Tensor:
        """The loss to be minimised: the sum of the terms, unless told otherwise."""
        return torch.stack(list(parts.values())).sum()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """The loss; it and its parts are logged as means over the epoch."""
        parts = self.parts(batch)
        loss = self.total(parts)
        named = {f"train_{name}": part.detach() for name, part in parts.items()}
        self.log_dict(
            {"train_loss": loss.detach(), **named},
            on_step=False,
            on_epoch=True,
            batch_size=batch.size,
            sync_dist=True,
        )
        return loss


class GradingTask(TrainingTask):
    """What teacher and student share: optimiser, scores on validation tiles, logging.

    Validation scores are `validation_kappa` (quadratic weights), `validation_accuracy` and
    `validation_not_finite`, the number of tiles answered with NaN or infinity. One such tile makes
    the kappa -1, so that the checkpoint is not picked where another one answers them all. Each
    process sees all validation tiles (`TileData`): logged values are the mean over the processes.
    """

    needs_labels: bool = True

    def __init__(self, network: nn.Module, card: ModelCard, optimiser: OptimiserSettings) -> None:
        super().__init__()
        self.network, self.card, self.optimiser = network, card, optimiser
        self.kappa = MulticlassCohenKappa(GRADES, weights="quadratic")
        self.accuracy = MulticlassAccuracy(GRADES, average="micro")
        self.not_finite = SumMetric(sync_on_compute=False)

    def logits(self, batch: Batch) -> torch.Tensor:
        """(B, 4) of the network that is trained: the student sees H&E alone."""
        return Grader(self.network, self.card).logits(batch.he, batch.ihc)

    def truth(self, batch: Batch) -> torch.Tensor:
        """The grades (B,), int64 0 to 3, that validation compares with."""
        return batch.grade

    def require_labels(self, source: TileSource, indices: Iterable[int]) -> None:
        """Refuse tiles without a grade where a term of the loss, or validation, reads it.

        Raises
        ------
        DataError
            Naming a tile's file, and the line of the manifest, with what to do.
        """
        if not self.needs_labels:
            return
        for index in indices:
            if source.tiles[index].grade is None:
                raise DataError(
                    f"{source.names(index)[0]} has no grade, which loss or validation compares with: "
                    f"train a student from a teacher alone with {WITHOUT_GRADES}, or use labelled tiles"
                )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the scores."""
        logits, truth = self.logits(batch).float(), self.truth(batch)
        self.not_finite.update(not_finite(logits))
        self.kappa.update(logits, truth)
        self.accuracy.update(logits, truth)
        entropy = losses.cross_entropy(logits, truth)
        self.log("validation_cross_entropy", entropy, batch_size=len(truth), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log the scores; kappa is undefined where all tiles share one grade, and counts as 0."""
        unanswered = self.not_finite.compute()
        kappa = torch.nan_to_num(self.kappa.compute())
        scores = {
            MONITOR: torch.where(unanswered > 0, -1.0, kappa),
            "validation_accuracy": self.accuracy.compute(),
            "validation_not_finite": unanswered,
        }
        self.log_dict(scores, sync_dist=True)
        for metric in (self.kappa, self.accuracy, self.not_finite):
            metric.reset()

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser of all that is trained, also the method's layers; stepped per batch."""
        steps = int(self.trainer.estimated_stepping_batches)
        epochs = self.trainer.max_epochs or 1
        optimiser, schedule = optimiser_and_schedule(
            self, self.optimiser, steps=steps, steps_per_epoch=max(steps // epochs, 1)
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


class StudentTask(GradingTask):
    """A student on H&E that learns as a method of distillation says, with or without a teacher.

    Parameters
    ----------
    network, card, optimiser
        The student, its card, and how it is trained.
    method : Distillation
        Its own layers are trained, and saved in checkpoints, with the student.
    teacher : Grader or None
        Frozen, in eval mode. None will do for a method that needs none.

    Raises
    ------
    DataError
        If the method needs a teacher and there is none.
    """

    def __init__(
        self,
        network: nn.Module,
        card: ModelCard,
        optimiser: OptimiserSettings,
        method: Distillation,
        teacher: Grader | None,
    ) -> None:
        super().__init__(network, card, optimiser)
        if method.needs_teacher and teacher is None:
            raise DataError("this method learns from a teacher: name its file with --teacher")
        self.method, self.needs_labels = method, method.needs_labels
        self.teacher_card = None if teacher is None else teacher.card
        self.teacher = None if teacher is None else teacher.network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> StudentTask:
        """Set the mode of the student; the teacher stays in eval mode."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def parts(self, batch: Batch) -> Parts:
        """The terms of the method."""
        attention: Kept = "rows" if self.method.needs_attention else False
        student = self.network(self.card.normalise(batch.he), attention=attention)
        taught = self.lesson(batch, attention) if self.method.needs_teacher else None
        return self.method.parts(student, taught, batch.grade)

    def lesson(self, batch: Batch, attention: Kept = False) -> TeacherOutput:
        """What the teacher says, without gradients."""
        assert self.teacher is not None
        assert self.teacher_card is not None
        normalise = self.teacher_card.normalise
        with torch.no_grad():
            output: TeacherOutput = self.teacher(
                normalise(batch.he), normalise(batch.ihc), attention=attention
            )
        return output

    def total(self, parts: Parts) -> torch.Tensor:
        """The weighted sum of the terms."""
        return self.method.total(parts)

    def truth(self, batch: Batch) -> torch.Tensor:
        """The grades (B,); of tiles without one the teacher's.

        Raises
        ------
        DataError
            If a tile has no grade and there is no teacher.
        """
        unlabelled = batch.grade < 0
        if not unlabelled.any():
            return batch.grade
        if self.teacher is None:
            raise DataError("validation needs labelled tiles, or a teacher to compare with")
        return torch.where(unlabelled, self.lesson(batch).logits.argmax(dim=1), batch.grade)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the teacher out: it has a file of its own."""
        weights = checkpoint["state_dict"]
        for key in [key for key in weights if key.startswith("teacher.")]:
            del weights[key]
