"""What is trained on cases: MKD's three networks together, its student alone, or a baseline."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import optim
from torch.nn import functional

from napari_hmkd.errors import ModelError
from napari_hmkd.model.mkd import (
    GenomicNetwork,
    MkdOutput,
    MultimodalNetwork,
    PathologyNetwork,
)
from napari_hmkd.model.mkd.outputs import G, M, P
from napari_hmkd.training import losses
from napari_hmkd.training.methods.base import Parts
from napari_hmkd.training.mkd.baselines import Baseline
from napari_hmkd.training.mkd.config import AdamWSettings, MkdSettings
from napari_hmkd.training.mkd.loader import CaseBatch
from napari_hmkd.training.mkd.metrics import class_auc
from napari_hmkd.training.scores.calibration import probabilities
from napari_hmkd.training.tasks import TrainingTask

MONITOR = "validation_auc"
Logits = dict[str, torch.Tensor]


class CaseTask(TrainingTask):
    """Optimiser and scores on validation cases, whatever is trained.

    Logged is of each network the area under the ROC curve: `validation_auc` of the one that
    `monitored` names, which picks the checkpoint, and `validation_auc_NAME` of the others.
    """

    monitored: str

    def __init__(self, optimiser: AdamWSettings) -> None:
        super().__init__()
        self.optimiser = optimiser
        self._answers: list[tuple[Logits, torch.Tensor]] = []

    @abstractmethod
    def logits(self, batch: CaseBatch) -> Logits:
        """(b, classes) of every network that can answer with what the batch holds."""

    def validation_step(self, batch: CaseBatch, batch_idx: int) -> None:
        """Keep the answers until all are there: a rank has no mean over batches."""
        self._answers.append((self.logits(batch), batch.label))

    def on_validation_epoch_end(self) -> None:
        """Log the scores.

        Raises
        ------
        ModelError
            If an answer is not finite: the loss ran away, and no later epoch repairs the weights.
        """
        answers, labels = joined(self._answers)
        self._answers.clear()
        for name, logits in answers.items():
            if not np.isfinite(logits).all():
                raise ModelError(
                    f"network {name} answers NaN after epoch {self.current_epoch + 1}: choose a smaller "
                    "--learning-rate, a --gradient-clip of 1, or --precision 32-true"
                )
            called = MONITOR if name == self.monitored else f"{MONITOR}_{name}"
            self.log(called, class_auc(probabilities(logits, 1.0), labels))

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW, and the cosine, which goes on epoch by epoch."""
        chosen = self.optimiser
        optimiser = optim.AdamW(
            self.parameters(), chosen.learning_rate, weight_decay=chosen.weight_decay
        )
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimiser, chosen.cosine_epochs)
        return {"optimizer": optimiser, "lr_scheduler": schedule}


def joined(answers: list[tuple[Logits, torch.Tensor]]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Logits (n, classes) float32 of each network, and labels (n,), of batches put together."""
    names = answers[0][0]
    logits = {
        name: torch.cat([found[name].float() for found, _ in answers]).cpu().numpy()
        for name in names
    }
    return logits, torch.cat([labels for _, labels in answers]).cpu().numpy()


class MkdTask(CaseTask):
    """P, and with both teachers the three networks of MKD trained together from scratch.

    Parameters
    ----------
    pathology : PathologyNetwork
        P. Alone it is trained by cross entropy.
    multimodal, genomic : MultimodalNetwork and GenomicNetwork, or None
        M and G, both or neither.
    weights : MkdSettings
        Of the terms of the loss; a term of weight 0 is not computed.
    optimiser : AdamWSettings
        For all of them.
    """

    monitored = P

    def __init__(
        self,
        pathology: PathologyNetwork,
        multimodal: MultimodalNetwork | None,
        genomic: GenomicNetwork | None,
        weights: MkdSettings,
        optimiser: AdamWSettings,
    ) -> None:
        super().__init__(optimiser)
        self.pathology, self.multimodal, self.genomic = pathology, multimodal, genomic
        self.weights = weights

    def outputs(self, batch: CaseBatch) -> dict[str, MkdOutput]:
        """What each network says; without genes P alone."""
        found = {P: self.pathology(batch.bags)}
        if self.multimodal is not None and batch.genes is not None:
            found[M] = self.multimodal(batch.bags, batch.genes)
        if self.genomic is not None and batch.genes is not None:
            found[G] = self.genomic(batch.genes)
        return found

    def logits(self, batch: CaseBatch) -> Logits:
        """(b, classes) of P, M and G; without genes of P."""
        return {name: output.logits for name, output in self.outputs(batch).items()}

    def parts(self, batch: CaseBatch) -> Parts:
        """Cross entropies, summed over the networks, and the terms between them."""
        outputs, weights = self.outputs(batch), self.weights
        parts: Parts = {}
        if weights.cross_entropy:
            answers = [output.logits for output in outputs.values()]
            entropies = [functional.cross_entropy(z, batch.label) for z in answers]
            parts["cross_entropy"] = torch.stack(entropies).sum()
        if self.multimodal is None:
            return parts
        embeddings = [outputs[name].embedding for name in (P, M, G)]
        if weights.coral:
            parts["coral"] = losses.coral_loss(*embeddings)
        if weights.orthogonality:
            parts["orthogonality"] = losses.orthogonality_loss(*embeddings)
        if weights.similarity:
            parts["similarity"] = losses.similarity_loss(*embeddings)
        if weights.collaborative:
            p, m, g = (outputs[name].logits for name in (P, M, G))
            parts["collaborative"] = losses.collaborative_loss(p, m, g, weights.temperature)
        return parts

    def total(self, parts: Parts) -> torch.Tensor:
        """The weighted sum of the terms."""
        terms = [getattr(self.weights, name) * part for name, part in parts.items()]
        return torch.stack(terms).sum()


class BaselineTask(CaseTask):
    """One of the baselines, with the loss that is its own."""

    def __init__(self, name: str, baseline: Baseline, optimiser: AdamWSettings) -> None:
        super().__init__(optimiser)
        self.monitored, self.baseline = name, baseline

    def parts(self, batch: CaseBatch) -> Parts:
        """Its loss."""
        return {"baseline": self.baseline.loss(batch.bags, batch.genes, batch.label)}

    def logits(self, batch: CaseBatch) -> Logits:
        """(b, classes)."""
        return {self.monitored: self.baseline(batch.bags, batch.genes)}
