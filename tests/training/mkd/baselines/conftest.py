"""Three tiny cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from napari_hmkd.training.mkd.baselines import BASELINES, Baseline, Sizes

DIM, TOKENS, TOKEN_GENES, CLASSES = 10, 2, 6, 3
Build = Callable[[str], Baseline]


@pytest.fixture
def build() -> Build:
    """A baseline with weights of its own, in float64 and eval mode."""

    def named(name: str) -> Baseline:
        torch.manual_seed(0)
        return BASELINES[name](Sizes(DIM, TOKEN_GENES, CLASSES, TOKENS)).double().eval()

    return named


@pytest.fixture
def bags() -> list[torch.Tensor]:
    """Of 21, 1 and 40 patches."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, DIM, dtype=torch.float64, generator=generator) for n in (21, 1, 40)]


@pytest.fixture
def genes() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, TOKENS, TOKEN_GENES, dtype=torch.float64, generator=generator)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.tensor([0, 2, 1])
