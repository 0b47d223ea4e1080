"""Tiles of several patients, and networks' answers to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.model import ModelCard
from napari_hmkd.training.tiles import Tile

WriteRun = Callable[..., Path]

NOTICE = "trained on random numbers, research use only"


@pytest.fixture(scope="session")
def card() -> ModelCard:
    """A card with a temperature and thresholds."""
    return ModelCard(
        name="random",
        role="student",
        width=0.5,
        mpp=0.5,
        tile_px=256,
        temperature=2.0,
        conformal_thresholds=(0.2, 0.25, 0.3, 0.0),
        notice=NOTICE,
    )


@pytest.fixture(scope="session")
def graded() -> Callable[..., tuple[list[Tile], np.ndarray]]:
    """Makes tiles of ten patients and logits that know something of their grades."""

    def make(n: int = 60, seed: int = 0, patients: bool = True) -> tuple[list[Tile], np.ndarray]:
        rng = np.random.default_rng(seed)
        tiles = [
            Tile(f"Gewebe {i:03d}", i % 4, patient=f"Ä{i % 10}" if patients else None)
            for i in range(n)
        ]
        distance = np.abs(np.arange(4) - np.array([tile.grade for tile in tiles])[:, None])
        return tiles, (rng.normal(0, 2, (n, 4)) - 2 * distance).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def write_run(card: ModelCard) -> WriteRun:
    """Writes what a run leaves of its predictions and scores."""
    from napari_hmkd.training.scores.predictions import Predictions, write_predictions
    from napari_hmkd.training.scores.report import report
    from napari_hmkd.training.scores.strict_json import strict_json

    def write(folder: Path, tiles, logits, oracle: bool = False, part: str = "test") -> Path:
        folder.mkdir(parents=True)
        answers = {"student": Predictions.of_network(logits, card)}
        if oracle:
            answers["oracle"] = Predictions(np.array([tile.grade for tile in tiles]))
        found = report(tiles, answers, {"student": card}, part=part, split="drawn")
        write_predictions(folder / "predictions.csv", tiles, answers, part)
        (folder / "evaluation.json").write_text(strict_json(found), encoding="utf-8")
        return folder

    return write
