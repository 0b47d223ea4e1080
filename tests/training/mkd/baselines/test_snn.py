"""The self-normalising layers keep their activations on one scale."""

from __future__ import annotations

import pytest
import torch

from napari_hmkd.training.mkd.baselines.snn import GeneLayers


@pytest.mark.parametrize("training", [True, False])
def test_standardised_genes_stay_standardised(training: bool) -> None:
    torch.manual_seed(0)
    layers = GeneLayers(tokens=4, token_genes=128).train(training)
    activations = layers(torch.randn(512, 4, 128))
    assert activations.mean().item() == pytest.approx(0, abs=0.1)
    assert activations.std().item() == pytest.approx(1, abs=0.1)
