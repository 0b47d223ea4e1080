"""The losses of MKD: the published numbers, small cases by hand, and where gradients go."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hmkd.training.losses import (
    collaborative_loss,
    coral_loss,
    orthogonality_loss,
    similarity_loss,
)

Loss = Callable[..., torch.Tensor]
softened = partial(collaborative_loss, temperature=4.0)
NETWORKS = ("pathology", "multimodal", "genomic")
# Name in the reference, and what it is computed from.
LOSSES: dict[str, tuple[Loss, str, int]] = {
    "coral": (coral_loss, "embedding", 256),
    "orthogonality": (orthogonality_loss, "embedding", 256),
    "similarity": (similarity_loss, "embedding", 256),
    "collaborative": (softened, "logits", 2),
}
EVERY_LOSS = pytest.mark.parametrize("loss", [loss for loss, *_ in LOSSES.values()])


def three(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(3, *shape, dtype=torch.float64, generator=generator).to(dtype))


@pytest.mark.parametrize("batch", [2, 16])
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_reference(parity: Path, name: str, batch: int) -> None:
    loss, kind, width = LOSSES[name]
    inputs = [
        torch.from_numpy(
            np.random.RandomState(zlib.crc32(f"{kind}.{network}{batch}".encode())).standard_normal(
                (batch, width)
            )
        )
        for network in NETWORKS
    ]
    with np.load(parity / "mkd.npz") as file:
        wanted = float(file[f"batch{batch}.{name}"])
    found = loss(*inputs)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(wanted, rel=1e-12)


# Two cases of two values each; every number below is worked out on paper.
P = torch.tensor([[1.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
M = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
G = torch.zeros(2, 2, dtype=torch.float64)


def test_coral_by_hand() -> None:
    # Means (2, 0), (0, 1), (0, 0): squared differences 2.5 (m, p), 2 (g, p), 0.5 (g, m).
    # Covariances [[2, 0], [0, 0]], 0, 0: 1 (m, p), 1 (g, p), 0 (g, m).
    assert coral_loss(P, M, G).item() == pytest.approx(7)


def test_orthogonality_by_hand() -> None:
    # Inner products 0 and 0 (m, p); 1 and 9 (p, p), the mean 5; each pair counts a sixth.
    assert orthogonality_loss(P, M, G).item() == 0
    assert orthogonality_loss(P, P, G).item() == pytest.approx(5 / 6)
    assert orthogonality_loss(P, -P, G).item() == pytest.approx(5 / 6)


def test_orthogonality_is_of_raw_products_that_may_cancel() -> None:
    signs = torch.tensor([[3.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)  # 3 - 3 = 0
    assert orthogonality_loss(P, signs, G).item() == 0


def test_similarity_by_hand() -> None:
    # Rows of the products: (1, 3) and (3, 9), of norm 1 both (1, 3) / sqrt 10; of m (1, 1) / sqrt 2.
    a, b, c = 1 / math.sqrt(10), 3 / math.sqrt(10), 1 / math.sqrt(2)
    with_m = 2 * ((a - c) ** 2 + (b - c) ** 2) / 4
    with_g = 2 * (a**2 + b**2) / 4
    assert similarity_loss(P, M, G).item() == pytest.approx(2 * (with_m + with_g))


def test_collaborative_by_hand() -> None:
    # Odds of 3 : 1 against even odds, softened with T = 2: logits are doubled beforehand.
    odds = 2 * torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)
    even = torch.zeros(1, 2, dtype=torch.float64)
    to_even = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    from_even = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    found = collaborative_loss(odds, even, odds, temperature=2.0)
    assert found.item() == pytest.approx(4 * (to_even + from_even))


@pytest.mark.parametrize("loss", [coral_loss, similarity_loss, softened])
def test_networks_that_agree_lose_nothing(loss: Loss) -> None:
    x = three(6, 4)[0]
    assert loss(x, x, x).item() == pytest.approx(0, abs=1e-12)


@EVERY_LOSS
def test_gradients_reach_every_network(loss: Loss) -> None:
    inputs = [x.requires_grad_() for x in three(6, 4)]
    loss(*inputs).backward()
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in inputs)


@pytest.mark.parametrize("loss", [coral_loss, orthogonality_loss, similarity_loss])
def test_gradients_are_those_of_the_value(loss: Loss) -> None:
    assert torch.autograd.gradcheck(loss, [x.requires_grad_() for x in three(5, 3)])


def test_each_network_follows_the_others_answers_as_if_they_were_fixed() -> None:
    z_p, z_m, z_g = (z.requires_grad_() for z in three(5, 2))
    softened(z_p, z_m, z_g).backward()
    p, m, g = ((z.detach() / 4).softmax(dim=1) for z in (z_p, z_m, z_g))
    # d/dz of T^2 KL(q || softmax(z / T)) / b is T (softmax(z / T) - q) / b.
    torch.testing.assert_close(z_p.grad, 4 * ((p - m) + (p - g)) / 5)
    torch.testing.assert_close(z_m.grad, 4 * (m - p) / 5)
    torch.testing.assert_close(z_g.grad, 4 * (g - p) / 5)


@EVERY_LOSS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_gives_float32(loss: Loss, dtype: torch.dtype) -> None:
    inputs = three(16, 8, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(*inputs)
    assert found.dtype == torch.float32
    wanted = loss(*(x.double() for x in inputs))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


@EVERY_LOSS
def test_a_batch_of_one_case_has_a_finite_loss_and_gradient(loss: Loss) -> None:
    inputs = [x.requires_grad_() for x in three(1, 4)]
    found = loss(*inputs)
    found.backward()
    assert found.isfinite()
    assert all(x.grad.isfinite().all() for x in inputs)


def test_a_single_case_is_compared_by_its_means() -> None:
    assert coral_loss(P[:1], M[:1], G[:1]).item() == pytest.approx((2 + 1 + 1) / 2)


@EVERY_LOSS
def test_embeddings_of_zeros_have_a_finite_gradient(loss: Loss) -> None:
    # ReLU can silence every value of a case.
    inputs = [torch.zeros(4, 8, requires_grad=True) for _ in range(3)]
    loss(*inputs).backward()
    assert all(x.grad.isfinite().all() for x in inputs)
