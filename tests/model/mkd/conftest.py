"""Biomarker models of two targets."""

from __future__ import annotations

import pytest
import torch

from napari_hmkd.model.mkd import BiomarkerCard, PathologyNetwork, Target, build_pathology_network

DIM = 12


@pytest.fixture
def biomarker_card() -> BiomarkerCard:
    """A card of a binary and an ordinal target."""
    return BiomarkerCard(
        name="tiny",
        encoder="demo",
        encoder_sha256="0f" * 32,
        feature_dim=DIM,
        patch_px=256,
        mpp=0.5,
        targets=(
            Target(
                name="HER2",
                classes=("negative", "positive"),
                ordinal=False,
                definition="HER2 status of the whole case.",
            ),
            Target(
                name="ER level",
                classes=("none", "low", "high"),
                ordinal=True,
                temperature=1.5,
                definition="Share of nuclei that are stained.",
            ),
        ),
        training_data="random numbers",
        notice="not for real tissue — é",
    )


@pytest.fixture
def biomarker_networks(biomarker_card: BiomarkerCard) -> dict[str, PathologyNetwork]:
    """A network with weights of its own for each target of that card."""
    torch.manual_seed(0)
    return {
        target.name: build_pathology_network(feature_dim=DIM, classes=len(target.classes))
        for target in biomarker_card.targets
    }
