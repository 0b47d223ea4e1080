"""The optimisers and the learning rate over a run."""

from __future__ import annotations

import pytest
from torch import nn, optim

from napari_hmkd.training.config import OptimiserName, OptimiserSettings
from napari_hmkd.training.optimisers import optimiser_and_schedule, rate_factor


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_the_default_is_the_published_optimiser() -> None:
    optimiser, _ = optimiser_and_schedule(
        network(), OptimiserSettings(), steps=10, steps_per_epoch=5
    )
    (group,) = optimiser.param_groups
    assert isinstance(optimiser, optim.SGD)
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (1e-3, 0.9, 5e-4)


def test_adamw_spares_norms_and_biases() -> None:
    settings = OptimiserSettings(OptimiserName.ADAMW, weight_decay=0.1)
    optimiser, _ = optimiser_and_schedule(network(), settings, steps=10, steps_per_epoch=5)
    decay = {tuple(p.shape): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    assert decay == {(4, 3): 0.1, (4,): 0.0}


def test_the_rate_follows_a_cosine_to_zero() -> None:
    assert [rate_factor(step, 4, 0) for step in range(5)] == pytest.approx(
        [1, 0.853553, 0.5, 0.146447, 0], abs=1e-6
    )


def test_the_warm_up_is_linear_and_ends_at_the_peak() -> None:
    factors = [rate_factor(step, 20, 4) for step in range(20)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[4:] == sorted(factors[4:], reverse=True)


def test_values_that_were_stated_survive() -> None:
    stated = OptimiserSettings(OptimiserName.ADAMW, weight_decay=0.0, warmup_epochs=0.0)
    resolved = stated.resolved()
    assert (resolved.weight_decay, resolved.warmup_epochs) == (0.0, 0.0)
    assert resolved.learning_rate == 1e-3
