"""The optimiser and the learning rate over the run."""

from __future__ import annotations

import math

from timm.optim import param_groups_weight_decay
from torch import nn, optim
from torch.optim.lr_scheduler import LambdaLR

from napari_hmkd.training.config import OptimiserName, OptimiserSettings

SGD_MOMENTUM = 0.9


def optimiser_and_schedule(
    module: nn.Module, settings: OptimiserSettings, *, steps: int, steps_per_epoch: int
) -> tuple[optim.Optimizer, LambdaLR]:
    """The optimiser of all that is trained, and a schedule to be stepped after each of `steps`.

    Parameters that require no gradient, a frozen teacher's, are left out. SGD decays every weight, as
    the published program does; AdamW spares norms and biases.
    """
    chosen = settings.resolved()
    rate, decay = chosen.learning_rate or 0.0, chosen.weight_decay or 0.0
    optimiser: optim.Optimizer
    if chosen.optimiser is OptimiserName.SGD:
        trained = [weight for weight in module.parameters() if weight.requires_grad]
        optimiser = optim.SGD(trained, rate, SGD_MOMENTUM, weight_decay=decay)
    else:
        optimiser = optim.AdamW(param_groups_weight_decay(module, decay), rate)
    warmup = round((chosen.warmup_epochs or 0.0) * steps_per_epoch)
    return optimiser, LambdaLR(optimiser, lambda step: rate_factor(step, steps, warmup))


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """Learning rate relative to its peak: linear over `warmup` steps, then a cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    return (1 + math.cos(math.pi * min(done, 1.0))) / 2
