"""BatchNorm's running statistics, estimated anew before the network is judged.

Attention without a bound (S * softmax(S)) amplifies with the third power any difference between
the running statistics, which trail the weights, and those of the batch that the weights were
trained on: a network that trains well can answer NaN in eval mode. Averaging the statistics of
many batches at fixed weights removes the lag (Wu and Johnson 2021, arXiv 2105.07576, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import distributed
from torch.nn.modules.batchnorm import _BatchNorm

BATCHES = 40


class SettledStatistics(Callback):
    """Re-estimates the statistics of the trained network before each validation.

    The batches are the first of the epoch that ends, as they were; the loader that training goes on
    with is another one and keeps its place. Several processes average what each of them found.
    """

    def on_validation_start(self, trainer: Any, task: Any) -> None:
        """Average the statistics of `BATCHES` training batches at the weights of the moment."""
        norms = [m for m in task.network.modules() if isinstance(m, _BatchNorm)]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
        task.network.train()
        data = trainer.datamodule
        batches = iter(data.train_dataloader())
        with (
            closing(batches),  # a thread works ahead
            torch.no_grad(),
            trainer.precision_plugin.val_step_context(),
        ):
            for count, batch in enumerate(islice(batches, BATCHES), 1):
                for norm in norms:
                    # The mean so far; with None for it a norm asks its device for the count, and waits.
                    norm.momentum = 1 / count
                task.logits(data.on_after_batch_transfer(batch.to(task.device), 0))
        task.network.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        if trainer.world_size > 1:
            average(norms)


def average(norms: Sequence[_BatchNorm]) -> None:
    """Give all processes the mean of their running statistics."""
    for norm in norms:
        for statistic in (norm.running_mean, norm.running_var):
            assert statistic is not None  # every norm of these networks tracks them
            distributed.all_reduce(statistic)
            statistic /= distributed.get_world_size()
