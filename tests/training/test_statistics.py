"""Statistics of BatchNorm are those of the training tiles at the weights that are judged."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.training.statistics import SettledStatistics


class Task:
    """Just enough of a task: one norm, whose statistics trail far behind."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.network = nn.Sequential(nn.BatchNorm1d(2, momentum=0.01), nn.Dropout()).eval()

    def transfer_batch_to_device(self, batch: torch.Tensor, *_: object) -> torch.Tensor:
        return batch

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        return self.network(batch)


def test_validation_sees_the_average_over_training_batches() -> None:
    torch.manual_seed(0)
    batches = [5 + 3 * torch.randn(16, 2) for _ in range(6)]
    data = SimpleNamespace(train_dataloader=lambda: batches)
    task = Task()
    SettledStatistics().on_validation_start(SimpleNamespace(datamodule=data), task)
    norm = task.network[0]
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([b.var(0) for b in batches]).mean(0))
    # Training goes on as before, and what follows is judged in eval mode.
    assert norm.momentum == 0.01
    assert not any(module.training for module in task.network.modules())
