"""What training says about itself: one row and one line per epoch, and where the time goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler

from napari_hmkd.output_folder import csv_text
from napari_hmkd.training.console import Pulse, say
from napari_hmkd.training.files import write_unless_held

METRICS_FILE = "metrics.csv"
STATE = "hmkd_curves"
Row = dict[str, str]
FETCH = "[_TrainingEpochLoop].train_dataloader_next"


class WaitingClock(Profiler):
    """Adds up the time that training stands still until the loader hands over the next batch.

    On a GPU, which works on while the program waits, this is the most that loading can cost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._started = 0.0

    def start(self, action_name: str) -> None:
        """Start the clock where a batch is asked for."""
        if action_name == FETCH:
            self._started = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """Stop it where the batch is there."""
        if action_name == FETCH:
            self.seconds += time.perf_counter() - self._started


class StepLines(Callback):
    """Says once a minute how far an epoch is, which can take hours."""

    def __init__(self) -> None:
        self._pulse = Pulse()

    def on_train_batch_end(
        self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the steps."""
        self._say(trainer, f"step {batch_idx + 1} of {trainer.num_training_batches}")

    def on_validation_batch_end(
        self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batches."""
        (count,) = trainer.num_val_batches
        self._say(trainer, f"validation, batch {batch_idx + 1} of {count}")

    def _say(self, trainer: Any, text: str) -> None:
        self._pulse.say(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {text}")


@dataclass
class EpochTable(Callback):
    """Keeps `metrics.csv`, one row per finished epoch, and prints one line for each.

    Columns: `epoch` (from 1), `step` (so many were done at its end), the means `train_*` over the
    epoch's batches, the scores `validation_*`, the `learning_rate` of its last step,
    `waiting_share` (of the time of its training steps, 0 to 1), `steps_per_second` (without
    validation) and `seconds` (with it).
    """

    folder: Path
    waiting: WaitingClock
    rows: list[Row] = field(default_factory=list)
    _began: float = 0.0
    _trained: float = 0.0
    _waited: float = 0.0
    _first_step: int = 0
    _rate: float = 0.0

    @property
    def state_key(self) -> str:
        """Name of this callback's state in a checkpoint."""
        return STATE

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint says about the epochs so far: the file can be behind."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the rows of finished epochs."""
        self.rows = state_dict["rows"]

    def write(self) -> None:
        """Bring the file up to date, or say that it stays behind, as where another program has it open.

        Raises
        ------
        OutputError
            If it cannot be written for another reason.
        """
        path, names = self.folder / METRICS_FILE, list(self.rows[-1])
        content = csv_text(names, ([row.get(name) for name in names] for row in self.rows)).encode()
        if path.is_file() and path.read_bytes() == content:
            return
        if not write_unless_held(path, content):
            say(
                f"{path} cannot be replaced now (does a program have it open?): its rows come later"
            )

    def on_train_epoch_start(self, trainer: Any, task: Any) -> None:
        """Start the clocks."""
        self._began = time.perf_counter()
        self._waited, self._first_step = self.waiting.seconds, trainer.global_step

    def on_train_batch_start(self, trainer: Any, task: Any, batch: Any, batch_idx: int) -> None:
        """Note the rate of this step; the schedule moves on at its end."""
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_validation_start(self, trainer: Any, task: Any) -> None:
        """Stop the clock of training."""
        if task.device.type == "cuda":
            torch.cuda.synchronize(task.device)
        self._trained = time.perf_counter() - self._began

    def on_train_epoch_end(self, trainer: Any, task: Any) -> None:
        """Add the epoch."""
        found = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        speed = (trainer.global_step - self._first_step) / self._trained
        share = (self.waiting.seconds - self._waited) / self._trained
        if not trainer.is_global_zero:
            return
        shown = "  ".join(f"{name} {value:.3f}" for name, value in found.items())
        epoch = trainer.current_epoch + 1
        say(
            f"epoch {epoch}/{trainer.max_epochs}  {shown}  {speed:.2f} steps/s  "
            f"{share:.0%} waiting for data"
        )
        row = {
            "epoch": epoch,
            "step": trainer.global_step,
            **found,
            "learning_rate": self._rate,
            "waiting_share": round(share, 4),
            "steps_per_second": round(speed, 4),
            "seconds": round(time.perf_counter() - self._began, 3),
        }
        self.rows.append({name: str(value) for name, value in row.items()})
        self.write()

    def totals(self) -> tuple[float, float, float]:
        """Steps per second, share of waiting, and seconds of all epochs."""
        steps, speeds, shares, seconds = (
            np.array([float(row[name]) for row in self.rows])
            for name in ("step", "steps_per_second", "waiting_share", "seconds")
        )
        trained = np.diff(steps, prepend=0) / speeds
        waited = np.average(shares, weights=trained)
        return float(steps[-1] / trained.sum()), float(waited), float(seconds.sum())
