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
from rich.console import Console

from napari_hmkd.errors import DeviceError
from napari_hmkd.training.config import ComputeSettings, Device, EngineSettings, Precision
from napari_hmkd.training.data import TileData
from napari_hmkd.training.tasks import GradingTask

MONITOR = "validation_kappa"


@dataclass(frozen=True)
class Fit:
    """What a finished fit says about itself."""

    best_epoch: int
    best_validation_kappa: float
    steps_per_second: float
    seconds: float


class EpochLines(Callback):
    """One printed line per epoch, and the speed of training without validation."""

    def __init__(self, console: Console) -> None:
        self.console = console
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
        shown = {name: float(value) for name, value in trainer.callback_metrics.items()}
        text = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
        self.console.print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {text}  "
            f"{self.steps / max(self.seconds, 1e-9):.2f} steps/s",
            highlight=False,
            soft_wrap=True,
        )


def fit(
    task: GradingTask,
    data: TileData,
    settings: EngineSettings,
    compute: ComputeSettings,
    folder: Path,
) -> Fit:
    """Train, write `metrics.csv` and checkpoints to `folder`, and load the best weights.

    Raises
    ------
    DeviceError
        If the device is missing or its memory does not suffice.
    """
    lines = EpochLines(Console(stderr=True))
    best = ModelCheckpoint(
        folder / "checkpoints", "best", monitor=MONITOR, mode="max", save_weights_only=True,
        enable_version_counter=False,
    )  # fmt: skip
    trainer = make_trainer(settings, compute, folder, [lines, best])
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            # Tiles are in memory: worker processes would only copy them.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*number of training batches.*")
            trainer.fit(task, datamodule=data)
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"the device ran out of memory at {compute.batch_size} tiles in a step: "
            "lower --batch-size"
        ) from error
    kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    weights = {k.removeprefix("network."): v for k, v in kept["state_dict"].items()
               if k.startswith("network.")}  # fmt: skip
    task.network.load_state_dict(weights)
    return Fit(
        best_epoch=int(kept["epoch"]) + 1,
        best_validation_kappa=round(float(best.best_model_score), 4),
        steps_per_second=round(lines.steps / lines.seconds, 3),
        seconds=round(time.perf_counter() - started, 1),
    )


def make_trainer(
    settings: EngineSettings, compute: ComputeSettings, folder: Path, callbacks: list[Callback]
) -> lightning.Trainer:
    """A Trainer that writes `metrics.csv` straight into the run folder."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    bar = sys.stderr.isatty()
    if bar:
        callbacks = [*callbacks, RichProgressBar()]
    device = compute.device
    try:
        return lightning.Trainer(
            accelerator="gpu" if device is Device.CUDA else device.value,
            devices=1,
            precision=resolve_precision(settings.precision, device),  # type: ignore[arg-type]
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
    except lightning.fabric.utilities.exceptions.MisconfigurationException as error:
        raise DeviceError(f"cannot train on {device.value}: {error}") from error


def resolve_precision(precision: Precision, device: Device) -> str:
    """The precision asked for; `auto` is bf16-mixed on CUDA and 32-true elsewhere."""
    if precision is not Precision.AUTO:
        return precision.value
    cuda = device in (Device.AUTO, Device.CUDA) and torch.cuda.is_available()
    return (Precision.BF16 if cuda else Precision.FULL).value
