"""The clocks of training count training alone."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.model import ModelCard
from napari_hmkd.training.config import (
    AugmentSettings,
    EngineSettings,
    OptimiserSettings,
    ParallelComputeSettings,
)
from napari_hmkd.training.data import Batch, TileData
from napari_hmkd.training.engine import Engine
from napari_hmkd.training.splits import Split
from napari_hmkd.training.statistics import SettledStatistics
from napari_hmkd.training.tasks import MONITOR, TeacherTask
from napari_hmkd.training.tiles import Tile

SLOW_S = 0.7
STEPS = 4


class Colours(nn.Module):
    """Grades from mean colours."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))

    def forward(self, he: torch.Tensor, ihc: torch.Tensor) -> SimpleNamespace:
        means = torch.cat([he.mean((2, 3)), ihc.mean((2, 3))], dim=1)
        return SimpleNamespace(logits=self.head(means))


class SlowToValidate(TeacherTask):
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        time.sleep(SLOW_S)
        super().validation_step(batch, batch_idx)


class Store:
    pairs = np.random.default_rng(0).integers(0, 256, (2 * STEPS + 2, 2, 8, 8, 3), np.uint8)

    def __init__(self, reading_s: float) -> None:
        self.reading_s = reading_s

    def read(self, indices: np.ndarray) -> np.ndarray:
        time.sleep(self.reading_s)
        return self.pairs[indices]


def trained(folder: Path, reading_s: float = 0.0):
    """What a fit of one epoch of STEPS steps says about itself."""
    tiles = [Tile(str(i), i % 4, str(i)) for i in range(len(Store.pairs))]
    held = np.arange(2 * STEPS, len(tiles))
    split = Split(np.arange(2 * STEPS), held, held, held, "")
    data = TileData(tiles, Store(reading_s), split, AugmentSettings(), batch_size=2, seed=0)
    card = ModelCard(name="t", role="teacher", width=1.0, mpp=1.0, tile_px=256)
    engine = Engine(
        EngineSettings(epochs=1), ParallelComputeSettings(2, "cpu"), torch.device("cpu"), folder,
        monitor=MONITOR, callbacks=[SettledStatistics()],
    )  # fmt: skip
    return engine.fit(SlowToValidate(Colours(), card, OptimiserSettings()), data, None)


def test_speed_and_waiting_leave_out_statistics_and_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = SettledStatistics.on_validation_start
    settled = []

    def slowly(self: SettledStatistics, trainer: object, task: object) -> None:
        time.sleep(SLOW_S)
        settle(self, trainer, task)
        settled.append(trainer)

    monkeypatch.setattr(SettledStatistics, "on_validation_start", slowly)
    fitted = trained(tmp_path)
    assert len(settled) == 1
    assert fitted.seconds > 2 * SLOW_S - 0.1  # rounded
    assert STEPS / fitted.steps_per_second < SLOW_S


def test_waiting_is_what_a_slow_store_costs(tmp_path: Path) -> None:
    reading_s = 0.1
    fitted = trained(tmp_path, reading_s)
    assert fitted.waiting_share > 0.5
    assert STEPS / fitted.steps_per_second > STEPS * reading_s


def test_an_epoch_tells_its_steps_where_no_bar_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("napari_hmkd.training.console.PULSE_S", 0.0)
    trained(tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if "kappa" not in line]
    assert lines == [
        *(f"epoch 1/1: step {step} of {STEPS}" for step in range(1, STEPS + 1)),
        "epoch 1/1: validation, batch 1 of 1",
    ]
