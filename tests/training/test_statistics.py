"""Statistics of BatchNorm are those of the training tiles at the weights that are judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.training.statistics import BATCHES, SettledStatistics


class Data:
    """Batches of numbers, which the device is to double."""

    def __init__(self, batches: list[torch.Tensor]) -> None:
        self.batches, self.closed = batches, False

    def train_dataloader(self) -> Iterator[torch.Tensor]:
        try:
            yield from self.batches
        finally:
            self.closed = True

    def on_after_batch_transfer(self, batch: torch.Tensor, dataloader_idx: int) -> torch.Tensor:
        return 2 * batch


class Task:
    """Just enough of a task: one norm, whose statistics trail far behind."""

    device = torch.device("cpu")

    def __init__(self, norm: nn.Module | None = None) -> None:
        norm = norm or nn.BatchNorm1d(2, momentum=0.01)
        self.network = nn.Sequential(norm, nn.Dropout()).eval()

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        return self.network(batch)


def settle(task: Task, data: Data) -> None:
    plugin = SimpleNamespace(val_step_context=nullcontext)
    trainer = SimpleNamespace(datamodule=data, precision_plugin=plugin, world_size=1)
    SettledStatistics().on_validation_start(trainer, task)


def test_validation_sees_the_average_over_training_batches() -> None:
    torch.manual_seed(0)
    batches = [5 + 3 * torch.randn(16, 2) for _ in range(6)]
    task, data = Task(), Data(batches)
    settle(task, data)
    norm, batches = task.network[0], [2 * batch for batch in batches]
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([b.var(0) for b in batches]).mean(0))
    # Training goes on as before, and what follows is judged in eval mode.
    assert norm.momentum == 0.01
    assert not any(module.training for module in task.network.modules())


def test_the_average_is_to_the_bit_that_of_a_norms_own() -> None:
    torch.manual_seed(0)
    batches = [torch.randn(16, 2) for _ in range(7)]
    own, task = nn.BatchNorm1d(2, momentum=None), Task()
    for batch in batches:
        own(2 * batch)
    settle(task, Data(batches))
    for name, statistic in own.named_buffers():
        assert torch.equal(statistic, task.network[0].get_buffer(name)), name


def test_the_loader_is_closed_before_its_end() -> None:
    data = Data([torch.randn(16, 2) for _ in range(BATCHES + 2)])
    task = Task()
    settle(task, data)
    assert data.closed
    assert task.network[0].num_batches_tracked == BATCHES


def test_a_network_without_such_norms_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Data([torch.randn(16, 2)])
    monkeypatch.setattr(data, "train_dataloader", lambda: pytest.fail("read batches"))
    settle(Task(nn.LayerNorm(2)), data)
