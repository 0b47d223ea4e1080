"""TransMIL's attention through landmarks, and its use of the square."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from napari_hmkd.bags.packing import pack
from napari_hmkd.training.mkd.baselines import Baseline
from napari_hmkd.training.mkd.baselines.nystrom import LANDMARKS, NystromAttention, pseudo_inverse
from napari_hmkd.training.mkd.baselines.transmil import PositionEncoding

WIDTH = 16


@pytest.fixture
def attention() -> NystromAttention:
    torch.manual_seed(0)
    return NystromAttention(WIDTH).double().eval()


def exact(layer: NystromAttention, tokens: torch.Tensor) -> torch.Tensor:
    """The same layer with the whole matrix of attention."""
    query, key, value = (
        x.view(len(tokens), 8, 2).transpose(0, 1)
        for x in layer.query_key_value(tokens).chunk(3, dim=1)
    )
    attended = (query @ key.mT / 2**0.5).softmax(dim=-1) @ value
    along = torch.stack(
        [
            torch.nn.functional.conv1d(head.T[:, None], kernel[None], padding=16)[:, 0].T
            for head, kernel in zip(value, layer.residual.weight, strict=True)
        ]
    )
    return layer.project((attended + along).transpose(0, 1).reshape(len(tokens), WIDTH))


def test_few_tokens_are_attended_exactly(attention: NystromAttention) -> None:
    tokens = 4 * torch.randn(9, WIDTH, dtype=torch.float64)
    found, wanted = attention(tokens), exact(attention, tokens)
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()


def test_many_tokens_are_attended_nearly_exactly_where_they_come_in_runs(
    attention: NystromAttention,
) -> None:
    centres = torch.randn(4, WIDTH, dtype=torch.float64)
    tokens = centres.repeat_interleave(LANDMARKS, dim=0)
    found, wanted = attention(tokens), exact(attention, tokens)
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()


def test_the_inverse_of_a_well_conditioned_attention() -> None:
    weights = (
        3 * torch.eye(6, dtype=torch.float64) + torch.rand(2, 6, 6, dtype=torch.float64)
    ).softmax(-1)
    torch.testing.assert_close(pseudo_inverse(weights), weights.inverse(), rtol=1e-3, atol=1e-3)


def test_position_encoding_sees_neighbours_on_the_square() -> None:
    encode = PositionEncoding(WIDTH).double()
    tokens = torch.zeros(144, WIDTH, dtype=torch.float64)
    moved = tokens.clone()
    moved[5 * 12 + 5] = 1
    changed = (encode(moved, 12) - encode(tokens, 12)).abs().sum(dim=1).view(12, 12) > 0
    reached = torch.zeros(12, 12, dtype=torch.bool)
    reached[2:9, 2:9] = True
    assert torch.equal(changed, reached)


def test_the_order_of_patches_matters(
    build: Callable[[str], Baseline], bags: list[torch.Tensor]
) -> None:
    transmil = build("transmil")
    turned = transmil(pack([bag.flip(0) for bag in bags]), None)
    assert not torch.allclose(turned[[0, 2]], transmil(pack(bags), None)[[0, 2]])


def test_gradients_are_those_without_recomputation(
    build: Callable[[str], Baseline],
    bags: list[torch.Tensor],
    labels: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transmil = build("transmil").train()

    def gradient() -> torch.Tensor:
        transmil.zero_grad()
        torch.manual_seed(3)  # the same dropout
        transmil.loss(pack(bags), None, labels).backward()
        return transmil.embed[0].weight.grad.clone()

    recomputed = gradient()
    monkeypatch.setattr(transmil, "_summary", transmil._read)
    torch.testing.assert_close(gradient(), recomputed)
