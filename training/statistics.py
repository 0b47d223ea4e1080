"""BatchNorm's running statistics, estimated anew before the network is judged.

Attention without a bound (S * softmax(S)) amplifies with the third power any difference between
the running statistics, which trail the weights, and those of the batch that the weights were
trained on: a network that trains well can answer NaN in eval mode. Averaging the statistics of
many batches at fixed weights removes the lag (Wu and Johnson 2021, arXiv 2105.07576, section 3).
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch.nn.modules.batchnorm import _BatchNorm

BATCHES = 40


class SettledStatistics(Callback):
    """Re-estimates the statistics of the trained network before each validation."""

    def on_validation_start(self, trainer: Any, task: Any) -> None:
        """Average the statistics of `BATCHES` training batches at the weights of the moment."""
        norms = [m for m in task.network.modules() if isinstance(m, _BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average
        task.network.train()
        batches = islice(iter(trainer.datamodule.train_dataloader()), BATCHES)
        with torch.no_grad():
            for batch in batches:
                task.logits(task.transfer_batch_to_device(batch, task.device, 0))
        task.network.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
