"""Checkpoints of the published HM-KD program as this project's weights and card."""

from __future__ import annotations

from pathlib import Path

from napari_hmkd.model import ModelCard, import_published, save
from napari_hmkd.training.files import require_new_file
from napari_hmkd.training.sources.bci import BCI_MPP
from napari_hmkd.wording import RESEARCH_ONLY

PUBLISHED_TILE_PX = 1024


def convert_published(checkpoint: Path, role: str, out: Path) -> ModelCard:
    """Write `out` (safetensors) and its card from a published torch checkpoint.

    Raises
    ------
    ModelError
        If the checkpoint holds other tensors than the role needs, or code.
    OutputError
        If `out` exists, or cannot be looked for.
    """
    require_new_file(out)
    network = import_published(checkpoint, role)
    card = ModelCard(
        name=checkpoint.stem,
        role=role,
        width=1.0,
        mpp=BCI_MPP,
        tile_px=PUBLISHED_TILE_PX,
        training_data=f"imported from {checkpoint.name} of the published HM-KD program",
        notice=RESEARCH_ONLY,
    )
    save(out, network, card)
    return card
