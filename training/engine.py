"""Lightning's Trainer, set up from the settings."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.nn.parallel import DistributedDataParallel

from napari_hmkd.device import available_devices, device_errors, has_bfloat16, is_built_for
from napari_hmkd.errors import DeviceError, OutputError
from napari_hmkd.training.checkpoints import EpochCheckpoints, Progress, WholeFileIO, load_best
from napari_hmkd.training.config import ParallelComputeSettings, Precision, TrainerSettings
from napari_hmkd.training.console import say
from napari_hmkd.training.curves import EpochTable, StepLines, WaitingClock

EXPECTED_WARNINGS = (
    ".*module\\(s\\) in eval mode.*",  # the frozen teacher
    ".*LeafSpec.*",  # Lightning's own use of torch
    ".*exists and is not empty.*",  # settings and split are there first, on purpose
    "Grad strides do not match",  # DDP's, of layers with one channel a group: it has none to step over
)


@dataclass(frozen=True)
class Fit:
    """What a finished fit says about itself; epochs count from 1, times are of all its parts."""

    best_epoch: int
    best_validation_score: float
    epochs: int
    steps_per_second: float
    waiting_share: float
    seconds: float


class EpochSeed(Callback):
    """Seeds every generator by run, epoch and process, so that no state has to be kept."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: Any, task: Any) -> None:
        """Begin the epoch as it would begin in a run that was never cut short."""
        entropy = (self._seed, trainer.current_epoch, trainer.global_rank)
        drawn = np.random.SeedSequence(entropy).generate_state(1)[0]
        lightning.seed_everything(int(drawn), verbose=False)


class Engine:
    """A Trainer with this project's callbacks; `rank` of `ranks` processes that train together.

    Nothing is written before `fit`.

    Parameters
    ----------
    settings, compute, device
        How long, in which arithmetic, and where.
    folder : Path
        The run's.
    deadline : float, optional
        `time.monotonic()` at which to pause.
    monitor : str
        The score that picks the checkpoint, by the name under which the task logs it; more is better.
    callbacks : sequence of Callback
        What belongs to this kind of task; called after the table of epochs, before checkpoints.

    Raises
    ------
    DeviceError
        If there are fewer devices than asked for.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        compute: ParallelComputeSettings,
        device: torch.device,
        folder: Path,
        deadline: float | None = None,
        *,
        monitor: str,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self._settings = settings
        self._device, self._folder, self._monitor = device, folder, monitor
        self._clock = WaitingClock()
        self._table = EpochTable(folder, self._clock)
        self._checkpoints = EpochCheckpoints(folder, monitor, deadline)
        # The table's clock of training stops before the statistics are settled: callbacks go in turn.
        called: list[Callback] = [EpochSeed(settings.seed), self._table, *callbacks]
        if settings.patience:
            called.append(EarlyStopping(monitor, mode="max", patience=settings.patience))
        called.append(self._checkpoints)
        self._trainer = _make_trainer(settings, compute, device, folder, called, self._clock)
        self.rank, self.ranks = self._trainer.global_rank, self._trainer.world_size

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks; the others only compute."""
        return self.rank == 0

    @property
    def was_spawned(self) -> bool:
        """Whether the first process of this machine started this one, in `fit`."""
        environment = getattr(self._trainer.strategy, "cluster_environment", None)
        return isinstance(environment, LightningEnvironment) and self._trainer.local_rank > 0

    def fit(
        self,
        task: lightning.LightningModule,
        data: lightning.LightningDataModule,
        progress: Progress | None,
    ) -> Fit | None:
        """Train, or go on training, and load the best weights.

        Returns
        -------
        Fit or None
            None where the deadline came before the last epoch.

        Raises
        ------
        DeviceError
            If the device fails or its memory does not suffice.
        OutputError
            If something cannot be written; the last whole checkpoint is kept.
        """
        if progress is not None:
            self._table.load_state_dict(dict(progress.curves))
            if self.leads and not progress.finished:
                say(f"going on after epoch {progress.epochs}")
        if progress is None or not progress.finished:
            self._run(task, data, progress)
            if self._checkpoints.paused:
                if self.leads:
                    say(f"paused after epoch {len(self._table.rows)}: --resume goes on")
                return None
        if not self.leads:
            return None
        if len(self._table.rows) < self._settings.epochs:
            say(
                f"ended after epoch {len(self._table.rows)} of {self._settings.epochs}: no better on validation "
                f"for {self._settings.patience} (--patience)"
            )
        self._table.write()
        best_epoch = load_best(task, self._folder)
        speed, waiting, seconds = self._table.totals()
        return Fit(
            best_epoch=best_epoch + 1,
            best_validation_score=round(float(self._table.rows[best_epoch][self._monitor]), 4),
            epochs=len(self._table.rows),
            steps_per_second=round(speed, 3),
            waiting_share=round(waiting, 4),
            seconds=round(seconds, 1),
        )

    def _run(
        self,
        task: lightning.LightningModule,
        data: lightning.LightningDataModule,
        progress: Progress | None,
    ) -> None:
        trainer = self._trainer
        task.strict_loading = False  # a frozen teacher is not in the checkpoint
        try:
            with (
                warnings.catch_warnings(),
                device_errors(self._device),
                lost_partners(self.ranks),
            ):
                for message in EXPECTED_WARNINGS:
                    warnings.filterwarnings("ignore", message=message)
                trainer.fit(task, datamodule=data, ckpt_path=progress and progress.path)
        except SIGTERMException as stopped:
            raise SystemExit(128 + SIGTERM) from stopped  # Lightning's own says that all went well
        except SystemExit as stopped:  # Lightning's own after Ctrl-C: its code is 1, without a word
            if self.leads:
                say(f"stopped after epoch {len(self._table.rows)}: --resume goes on")
            raise SystemExit(128 + SIGINT) from stopped
        except OSError as error:
            raise OutputError(f"the run folder {self._folder} cannot be used: {error}") from error
        finally:
            _disband(trainer)


def _make_trainer(
    settings: TrainerSettings,
    compute: ParallelComputeSettings,
    device: torch.device,
    folder: Path,
    callbacks: list[Callback],
    clock: WaitingClock,
) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    bar = sys.stderr.isatty()
    callbacks = [*callbacks, RichProgressBar() if bar else StepLines()]
    several = compute.devices * compute.nodes > 1
    tensorboard = find_spec("tensorboard") is not None
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=resolve_devices(compute, device),
        num_nodes=compute.nodes,
        strategy=_shared() if several else "auto",
        sync_batchnorm=several and device.type == "cuda",
        use_distributed_sampler=False,  # the data module shares out what is trained on
        precision=resolve_precision(settings.precision, device).value,
        max_epochs=settings.epochs,
        gradient_clip_val=settings.gradient_clip or None,
        callbacks=callbacks,
        plugins=[WholeFileIO()],
        profiler=clock,
        logger=TensorBoardLogger(folder, "tensorboard", "") if tensorboard else False,
        default_root_dir=folder,
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def _shared() -> DDPStrategy:
    """Gradients averaged over the processes; statistics of norms are settled before validation.

    A term of weight 0 can leave layers without a gradient, in all steps alike: hence static.
    """
    # Its name from torch 2.13 on; the old one is deprecated. Statistics are sent once then, at the
    # start, where all processes have the same.
    new, old = "forward_sync_buffers", "broadcast_buffers"
    synced = new if new in signature(DistributedDataParallel).parameters else old
    return DDPStrategy(static_graph=True, **{synced: False})


def resolve_devices(compute: ParallelComputeSettings, device: torch.device) -> int | list[int]:
    """What the Trainer has to be told.

    Raises
    ------
    DeviceError
        If there are fewer than asked for.
    """
    if device.type == "cpu":
        return compute.devices
    found = [name for name in available_devices() if torch.device(name).type == device.type]
    here = [name for name in found if is_built_for(name)]
    if compute.devices > len(here):
        raise DeviceError(
            f"asked for {compute.devices} devices of the kind {device.type}; torch finds "
            f"{', '.join(here)} here: choose a smaller --devices"
        )
    if device.type == "cuda" and compute.devices == 1 and compute.nodes == 1:
        return [device.index]
    if here != found:
        return [torch.device(name).index for name in here[: compute.devices]]
    return compute.devices


@contextmanager
def lost_partners(ranks: int) -> Iterator[None]:
    """Tell that another of `ranks` processes is gone from a failure of this one or of its device.

    Raises
    ------
    DeviceError
        In place of what torch's back ends for several processes raise inside.
    """
    try:
        yield
    except RuntimeError as error:
        # Gloo, which joins processes on CPUs, has no kind of error of its own.
        if ranks == 1 or not (
            isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()
        ):
            raise
        reason = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise DeviceError(
            f"another of the {ranks} processes that train together cannot be reached any more "
            f"({reason}). Look at what it said last; where it said nothing, the system may have killed it "
            "for lack of memory, of which a smaller --memory-gb saves some. The same command with --resume "
            "goes on after the last finished epoch"
        ) from error


def _disband(trainer: lightning.Trainer) -> None:
    """Leave the group of processes: what follows is done by one of them alone."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if trainer.interrupted and trainer.strategy.launcher is not None:
        trainer.strategy.launcher.kill(SIGTERM)  # they would wait for this one for half an hour


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """The precision asked for; `auto` is bf16-mixed where the GPU has it, else 32-true."""
    if precision is not Precision.AUTO:
        return precision
    return Precision.BF16 if has_bfloat16(device) else Precision.FULL
