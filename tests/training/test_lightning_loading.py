"""What Lightning's Trainer makes of the loaders: epochs, resumption, colours, threads."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("sklearn", reason="needs the extra `train`")

import lightning

from napari_hmkd.training.config import AugmentSettings, StoredDataSettings
from napari_hmkd.training.data import Batch, TileData
from napari_hmkd.training.splits import Split
from napari_hmkd.training.store import open_store

NONE = np.array([], dtype=np.intp)
SPLIT = Split(np.arange(5), np.array([5]), NONE, NONE, "for the test")


class Recorder(lightning.LightningModule):
    """Keeps the batches of each epoch, and trains one number."""

    def __init__(self, fail_in_epoch: int | None = None) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.zeros(()))
        self.fail_in_epoch = fail_in_epoch
        self.seen: dict[int, list[Batch]] = {}
        self.validated: list[Batch] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == self.fail_in_epoch:
            raise ArithmeticError("stop in the middle")
        self.seen.setdefault(self.current_epoch, []).append(batch)
        return self.number**2

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.validated.append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def data(random_source) -> TileData:
    store = open_store(random_source, StoredDataSettings())
    return TileData(random_source.tiles, store, SPLIT, AugmentSettings(), batch_size=2, seed=7)


def fit(task: Recorder, data: TileData, folder: Path, epochs: int, resume: Path | None = None):
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    trainer.fit(task, datamodule=data, ckpt_path=resume)
    return trainer


def drawn(data: TileData, number: int) -> list[Batch]:
    """The batches of an epoch without Lightning, coloured."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return [batch.coloured() for batch in loader]


def assert_same(found: list[Batch], wanted: list[Batch]) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert a.stains is None
        for part in ("he", "ihc", "grade"):
            assert torch.equal(getattr(a, part), getattr(b, part))


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_each_epoch_trains_on_its_own_draws(data: TileData, tmp_path: Path) -> None:
    task = Recorder()
    fit(task, data, tmp_path, epochs=3)
    assert sorted(task.seen) == [0, 1, 2]
    for number, batches in task.seen.items():
        assert_same(batches, drawn(data, number))
    assert not torch.equal(task.seen[0][0].he, task.seen[1][0].he)
    assert len(task.validated) == 3
    for batch in task.validated:
        assert torch.equal(batch.he, next(iter(data.val_dataloader())).he)
    assert workers() == []


def test_a_resumed_run_goes_on_with_the_next_epochs_draws(data: TileData, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    fit(Recorder(), data, tmp_path, epochs=2).save_checkpoint(path)
    data.train_set.epoch = 0  # as in a new process
    task = Recorder()
    fit(task, data, tmp_path, epochs=4, resume=path)
    assert sorted(task.seen) == [2, 3]
    for number, batches in task.seen.items():
        assert_same(batches, drawn(data, number))


def test_a_failed_step_leaves_no_thread(data: TileData, tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError, match="in the middle"):
        fit(Recorder(fail_in_epoch=1), data, tmp_path, epochs=3)
    assert workers() == []
