"""The state of training after each epoch, so that a run that was cut short can go on."""

from __future__ import annotations

import filecmp
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from napari_hmkd.errors import ModelError
from napari_hmkd.training import curves
from napari_hmkd.training.files import make_folder, write_whole

FOLDER = "checkpoints"
STATE = "hmkd_training"


@dataclass(frozen=True)
class Progress:
    """How far a run got."""

    path: Path
    """Its last checkpoint."""
    epochs: int
    """Finished epochs."""
    finished: bool
    """Whether the last epoch, or early stopping, has been reached."""
    curves: Mapping[str, Any]
    """The state of `EpochTable`."""


class WholeFileIO(TorchCheckpointIO):
    """Checkpoints replace their predecessor only once they are on the disk, beside it.

    Lightning's own way writes to the system's temporary folder and copies from there, which can
    leave half a file where the predecessor stood.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write one checkpoint; OutputError, with the predecessor kept, where the disk is full."""
        held = io.BytesIO()
        torch.save(checkpoint, held)
        write_whole(Path(path), held.getbuffer())


class EpochCheckpoints(Checkpoint):
    """Saves `last.ckpt` after each epoch, copies the best to `best.ckpt`, and keeps the deadline.

    The best is that of the highest `monitor`, one of the scores that the task logs. `last.ckpt` says
    which epoch is the best, so that a copy that a kill prevented is made up for.
    """

    def __init__(self, folder: Path, monitor: str, deadline: float | None) -> None:
        self._folder, self._deadline, self._monitor = folder / FOLDER, deadline, monitor
        self._started, self._longest = 0.0, 0.0
        self.best_epoch, self.best_score = -1, -float("inf")
        self.finished = self.paused = False

    @property
    def state_key(self) -> str:
        """Name of this callback's state in a checkpoint."""
        return STATE

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint says about the run."""
        names = ("best_epoch", "best_score", "finished")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best_epoch, self.best_score = state_dict["best_epoch"], state_dict["best_score"]

    def on_train_epoch_start(self, trainer: Any, task: Any) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, task: Any) -> None:
        """Save; the first of equally good epochs is the best."""
        epoch, score = trainer.current_epoch, float(trainer.callback_metrics[self._monitor])
        if score > self.best_score:
            self.best_epoch, self.best_score = epoch, score
        self.finished = trainer.should_stop or epoch + 1 >= trainer.max_epochs
        last = self._folder / "last.ckpt"
        if trainer.is_global_zero:
            make_folder(self._folder)
        trainer.save_checkpoint(last)
        if trainer.is_global_zero and self.best_epoch == epoch:
            write_whole(self._folder / "best.ckpt", last.read_bytes())
        now = time.monotonic()
        self._longest = max(self._longest, now - self._started)
        late = self._deadline is not None and now + self._longest > self._deadline
        if not self.finished and trainer.strategy.broadcast(late):
            self.paused = trainer.should_stop = True


def read_progress(run: Path, task: LightningModule, *, repair: bool) -> Progress | None:
    """Look at the checkpoints of a run.

    Parameters
    ----------
    run : Path
        Its folder.
    task : LightningModule
        What is trained.
    repair : bool
        Finish what a kill left undone; of several processes one does.

    Returns
    -------
    Progress or None
        None where no epoch has been finished.

    Raises
    ------
    ModelError
        If a checkpoint is damaged or belongs to another network.
    """
    last, best = (run / FOLDER / f"{name}.ckpt" for name in ("last", "best"))
    if not last.exists():
        return None
    kept = read_checkpoint(last, task)
    state, epoch = kept["callbacks"][STATE], int(kept["epoch"])
    if state["best_epoch"] != epoch:
        read_checkpoint(best, task)
    elif repair and not (best.exists() and filecmp.cmp(last, best, shallow=False)):
        write_whole(best, last.read_bytes())
    return Progress(last, epoch + 1, bool(state["finished"]), kept["callbacks"][curves.STATE])


def read_checkpoint(path: Path, task: LightningModule) -> dict[str, Any]:
    """A checkpoint of this task's network.

    Raises
    ------
    ModelError
        If it cannot be read, or belongs to another network.
    """
    advice = "copy back the file of this run, or start again in a new folder with --out"
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        found, _ = kept["state_dict"], [kept["callbacks"][one] for one in (STATE, curves.STATE)]
    except Exception as error:  # torch, pickle and zip each raise their own kinds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(f"the checkpoint {path} cannot be read ({reason}): {advice}") from error
    if problem := _difference(found, _saved_weights(task)):
        raise ModelError(f"the checkpoint {path} is of another network ({problem}): {advice}")
    return dict(kept)


def load_best(task: LightningModule, run: Path) -> int:
    """Give the task the weights of the run's best checkpoint; return its epoch, from 0.

    Raises
    ------
    ModelError
        If the checkpoint cannot be used.
    """
    kept = read_checkpoint(run / FOLDER / "best.ckpt", task)
    task.load_state_dict(kept["state_dict"], strict=False)  # a frozen teacher is not in it
    return int(kept["epoch"])


def _saved_weights(task: LightningModule) -> Mapping[str, torch.Tensor]:
    """The part of a task's state that goes into a checkpoint."""
    checkpoint = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(checkpoint)
    return checkpoint["state_dict"]


def _difference(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str:
    """The first tensor that differs in name or shape, in words; empty if none does."""
    for name in sorted(found.keys() ^ wanted.keys()):
        return f"{'an extra' if name in found else 'no'} tensor {name}"
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            return f"{name} is {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
    return ""
