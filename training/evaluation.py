"""Grade tiles with finished networks and score them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import nn

from napari_hmkd.model import ModelCard
from napari_hmkd.training.config import Device
from napari_hmkd.training.data import Batch, PairDataset, batches
from napari_hmkd.training.metrics import BOOTSTRAP_DRAWS, scores
from napari_hmkd.training.sources import GRADE_NAMES, Tile


@dataclass(frozen=True)
class Grader:
    """A finished network with its card."""

    network: nn.Module
    card: ModelCard

    def logits(self, batch: Batch) -> torch.Tensor:
        """(B, 4): the teacher sees both stains, the student H&E alone."""
        he = self.card.normalise(batch.he)
        if self.card.role == "teacher":
            return self.network(he, self.card.normalise(batch.ihc)).logits
        return self.network(he).logits


def pick_device(device: Device) -> torch.device:
    """The device asked for; `auto` takes CUDA, then Apple's MPS, then the CPU."""
    if device is not Device.AUTO:
        return torch.device(device.value)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def predict_logits(
    grader: Grader, dataset: PairDataset, batch_size: int, device: torch.device
) -> NDArray[np.float32]:
    """(n, 4) logits of all tiles of a dataset, in its order, in float32."""
    network = grader.network.to(device).eval()
    loader = batches(dataset, batch_size)
    found = []
    with torch.inference_mode():
        for batch in track(loader, f"Grading with the {grader.card.role}", transient=True):
            moved = Batch(*(part.to(device) for part in batch))
            found.append(grader.logits(moved).float().cpu().numpy())
    network.cpu()
    return np.concatenate(found)


def report(
    tiles: Sequence[Tile], predicted: Mapping[str, NDArray[np.integer]], **about: Any
) -> dict[str, Any]:
    """Scores of several graders of the same tiles, ready for JSON.

    The bootstrap draws patients, or tiles where patients are unknown, which makes the intervals
    too narrow; the report says which.
    """
    known = all(tile.patient is not None for tile in tiles)
    groups = [tile.patient if known else tile.name for tile in tiles]
    truth = np.array([tile.grade for tile in tiles])
    unit = "patients" if known else "tiles (patients are unknown: too narrow)"
    return {
        **about,
        "tiles": len(tiles),
        "patients": len(set(groups)) if known else None,
        "tiles_per_grade": dict(
            zip(GRADE_NAMES, np.bincount(truth, minlength=4).tolist(), strict=True)
        ),
        "intervals": f"95 % percentile bootstrap over {unit}, {BOOTSTRAP_DRAWS} draws",
        "confusion_axes": "rows: label, columns: predicted; 0, 1+, 2+, 3+",
        "graders": {name: scores(truth, grades, groups) for name, grades in predicted.items()},
    }
