"""What the pictures of scores show is what the numbers say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from matplotlib.axes import Axes

from napari_hmkd.training.scores import pictures
from napari_hmkd.training.scores.metrics import ranked, roc_auc
from napari_hmkd.wording import GRADE_NAMES


def test_curves_of_sure_answers_have_the_areas_that_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, 200)
    logits = 40 * (np.eye(4)[truth] + rng.normal(0, 1, (200, 4)))
    left = np.exp(-np.abs(logits - logits.max(1, keepdims=True)) * 10)
    probabilities = left / left.sum(1, keepdims=True)
    assert (probabilities.max(1) == 1).mean() > 0.5
    assert (np.sort(probabilities, axis=1)[:, :-1].sum(1) == 0).any()
    told = [
        float(roc_auc(ranked(probabilities)[:, k], truth == k, np.ones((1, 200)))[0])
        for k in range(4)
    ]
    drawn, plain = {}, Axes.plot

    def plot(axes: Axes, x: np.ndarray, y: np.ndarray, **look: object) -> None:
        if "label" in look:
            drawn[look["label"]] = np.trapezoid(y, x)
        plain(axes, x, y, **look)

    monkeypatch.setattr(Axes, "plot", plot)
    areas = {name: {"auc": {"value": area}} for name, area in zip(GRADE_NAMES, told, strict=True)}
    pictures._roc({"per_grade": areas}, probabilities, truth)
    assert list(drawn.values()) == pytest.approx(told, abs=1e-12)
