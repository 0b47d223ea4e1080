"""What the pictures of a page show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("sklearn", reason="needs the extra `train`")
pytest.importorskip("matplotlib", reason="needs the extra `train`")

from napari_hmkd.training.scores.pictures import pictures
from napari_hmkd.training.scores.predictions import Predictions
from napari_hmkd.training.scores.report import grader_scores


def test_a_low_temperature_does_not_bend_the_roc_curves(card) -> None:
    # Of two grades alone, a temperature changes no order of tiles.
    rng, truth = np.random.default_rng(0), np.arange(40) % 2
    margin = rng.normal(3, 1, 40) - truth
    margin[0] = 50  # whose other grades have a probability of 0 then
    logits = np.stack([margin, 0 * margin, 0 * margin - 900, 0 * margin - 900], axis=1)

    def roc_curves(temperature: float) -> str:
        found = Predictions.of_network(logits, replace(card, temperature=temperature))
        scored = grader_scores(found, truth, [str(i) for i in range(40)])
        return pictures(scored, found, truth, None)[2].source

    assert roc_curves(0.05) == roc_curves(1.0)
