"""Finished networks with their cards, and what they say about tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_hmkd.device import device_errors
from napari_hmkd.errors import DataError, ModelError
from napari_hmkd.model import ModelCard, find_model, load
from napari_hmkd.model.sharing import answer_in_parts
from napari_hmkd.training.console import tracked
from napari_hmkd.training.data import BatchLoader, PairDataset
from napari_hmkd.training.tiles import TileSource

MPP_TOLERANCE = 0.01


@dataclass(frozen=True)
class Grader:
    """A finished network with its card."""

    network: nn.Module
    card: ModelCard

    def logits(self, he: torch.Tensor, ihc: torch.Tensor) -> torch.Tensor:
        """Tiles of both stains, uint8 -> (B, 4): the student sees H&E alone."""
        he = self.card.normalise(he)
        if self.card.role == "teacher":
            return self.network(he, self.card.normalise(ihc)).logits
        return self.network(he).logits

    def require_same_tiles(self, source: TileSource) -> None:
        """Refuse tiles of another size or pixel size than the network learned.

        Raises
        ------
        DataError
            Saying both.
        """
        card = self.card
        same_mpp = abs(card.mpp / source.mpp - 1) <= MPP_TOLERANCE
        if card.tile_px != source.tile_px or not same_mpp:
            raise DataError(
                f"{card.name} was trained on tiles of {card.tile_px} px at {card.mpp} um/px, and "
                f"the data has {source.tile_px} px at {source.mpp} um/px: use tiles like those"
            )


def load_grader(path: Path, role: str) -> Grader:
    """A finished network of the role asked for, from a file or a packaged name.

    Raises
    ------
    ModelError
        If it cannot be read or has the other role.
    """
    network, card = load(find_model(path))
    if card.role != role:
        raise ModelError(f"{path} holds a {card.role}: --{role} needs a {role}'s file")
    return Grader(network, card)


def predict_logits(
    grader: Grader, dataset: PairDataset, batch_size: int, device: torch.device
) -> NDArray[np.float32]:
    """(n, 4) logits of all tiles of a dataset, in its order, in float32.

    Raises
    ------
    DeviceError
        If the device fails.
    ModelError
        If the network answers a tile with values that are not finite.
    """
    loader = BatchLoader(dataset, batch_size)
    found = []
    with torch.inference_mode(), device_errors(device):
        network = grader.network.to(device).eval()
        for batch in tracked(loader, f"Grading batches ({grader.card.role})", len(loader)):
            found += answer_in_parts(grader.logits, batch.he.to(device), batch.ihc.to(device))
        network.cpu()
    logits = torch.cat(found).float().cpu().numpy()
    if bad := int((~np.isfinite(logits)).any(1).sum()):
        raise ModelError(
            f"{grader.card.name} answers {bad} of {len(logits)} tiles with values that are not "
            "finite: it cannot be scored. Train it longer, or with a smaller --learning-rate"
        )
    return logits
