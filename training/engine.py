"""Lightning's Trainer, set up from the settings."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger

from napari_hmkd.device import device_errors
from napari_hmkd.training.config import EngineSettings, Precision
from napari_hmkd.training.console import say
from napari_hmkd.training.data import TileData
from napari_hmkd.training.statistics import SettledStatistics
from napari_hmkd.training.tasks import GradingTask

MONITOR = "validation_kappa"
EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # tiles are in memory: worker processes would copy them
    ".*Experiment logs directory.*",  # settings and split are there first, on purpose
    ".*module\\(s\\) in eval mode.*",  # the frozen teacher
    ".*LeafSpec.*",  # Lightning's own use of torch
)


@dataclass(frozen=True)
class Fit:
    """What a finished fit says about itself."""

    best_epoch: int
    best_validation_kappa: float
    steps_per_second: float
    seconds: float


class EpochLines(Callback):
    """One printed line per epoch, and the speed of training without validation."""

    def __init__(self) -> None:
        self.steps, self.seconds = 0, 0.0
        self._started = 0.0

    def on_train_epoch_start(self, trainer: Any, task: Any) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a step."""
        now = time.perf_counter()
        self.steps, self.seconds = self.steps + 1, self.seconds + now - self._started
        self._started = now

    def on_train_epoch_end(self, trainer: Any, task: Any) -> None:
        """Print losses and scores."""
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown = "  ".join(f"{name} {found[name]:.3f}" for name in sorted(found))
        speed = self.steps / max(self.seconds, 1e-9)
        say(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {shown}  {speed:.2f} steps/s")


def fit(
    task: GradingTask,
    data: TileData,
    settings: EngineSettings,
    device: torch.device,
    folder: Path,
) -> Fit:
    """Train, write `metrics.csv` and checkpoints to `folder`, and load the best weights.

    Raises
    ------
    DeviceError
        If the device is missing or its memory does not suffice.
    """
    lines = EpochLines()
    best = ModelCheckpoint(folder / "checkpoints", "best", MONITOR, mode="max")
    trainer = make_trainer(settings, device, folder, [lines, SettledStatistics(), best])
    started = time.perf_counter()
    with warnings.catch_warnings(), device_errors(device):
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        trainer.fit(task, datamodule=data)
    best_epoch = load_best(task, Path(best.best_model_path))
    return Fit(
        best_epoch=best_epoch + 1,
        best_validation_kappa=round(float(best.best_model_score), 4),
        steps_per_second=round(lines.steps / lines.seconds, 3),
        seconds=round(time.perf_counter() - started, 1),
    )


def load_best(task: GradingTask, checkpoint: Path) -> int:
    """Give the task's network the weights of a Lightning checkpoint; return its epoch, from 0."""
    kept = torch.load(checkpoint, map_location="cpu", weights_only=True)
    prefix = "network."
    weights = {
        name.removeprefix(prefix): weight
        for name, weight in kept["state_dict"].items()
        if name.startswith(prefix)
    }
    task.network.load_state_dict(weights)
    return int(kept["epoch"])


def make_trainer(
    settings: EngineSettings, device: torch.device, folder: Path, callbacks: list[Callback]
) -> lightning.Trainer:
    """A Trainer that writes `metrics.csv` straight into the run folder."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    bar = sys.stderr.isatty()
    if bar:
        callbacks = [*callbacks, RichProgressBar()]
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index] if device.type == "cuda" else 1,
        precision=resolve_precision(settings.precision, device).value,
        max_epochs=settings.epochs,
        gradient_clip_val=settings.gradient_clip or None,
        callbacks=callbacks,
        logger=CSVLogger(folder, name="", version=""),
        default_root_dir=folder,
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """The precision asked for; `auto` is bf16-mixed on CUDA and 32-true elsewhere."""
    if precision is not Precision.AUTO:
        return precision
    return Precision.BF16 if device.type == "cuda" else Precision.FULL
