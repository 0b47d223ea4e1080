"""Attention planes take most of training's memory; computing them again takes less of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_hmkd.model import build_student, build_teacher
from napari_hmkd.model.planes import AttentionPlanes, set_recompute

BUILD = {"teacher": build_teacher, "student": build_student}


def loss_of(network: nn.Module, he: torch.Tensor) -> torch.Tensor:
    """A loss that reads logits and attention."""
    if hasattr(network, "ihc_stages"):
        return network(he, he.flip(0)).logits.square().sum()
    output = network(he, attention=True)
    return output.logits.square().sum() + sum(a.square().mean() for a in output.attention)


def trained(role: str, recompute: bool) -> nn.Module:
    """A network with the gradients of one step."""
    torch.manual_seed(0)
    network = BUILD[role](width=0.25).train()
    set_recompute(network, recompute)
    loss_of(network, torch.randn(2, 3, 256, 256)).backward()
    return network


def kept_bytes(role: str, recompute: bool) -> int:
    """What a step keeps for the gradient of two 1024 px tiles at the published width.

    Tensors without values, as on a GPU: on a CPU the planes' memory order adds a little.
    """
    network = BUILD[role](width=1.0).train().to("meta")
    set_recompute(network, recompute)
    weights = {weight.untyped_storage()._cdata for weight in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # held, so that no other one gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss_of(network, torch.empty(2, 3, 1024, 1024, device="meta"))
    return sum(storage.nbytes() for address, storage in kept.items() if address not in weights)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_gradients_and_statistics_stay_the_same(role: str) -> None:
    plain, again = trained(role, recompute=False), trained(role, recompute=True)
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(
            again.get_parameter(name).grad, weight.grad, rtol=0, atol=0, msg=name
        )
    # A norm that sees the batch twice would move its running statistics twice.
    torch.testing.assert_close(
        dict(again.named_buffers()), dict(plain.named_buffers()), rtol=0, atol=0
    )


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_at_most_half_of_the_memory_is_kept(role: str) -> None:
    plain, again = kept_bytes(role, recompute=False), kept_bytes(role, recompute=True)
    print(f"{role}: {plain / 2e6:.0f} MB per tile, recomputed {again / 2e6:.0f} MB")
    assert plain > 500e6
    assert again <= plain / 2


def test_it_holds_under_autocast() -> None:
    found = []
    for recompute in (False, True):
        with torch.autocast("cpu", torch.bfloat16):
            found.append(trained("student", recompute))
    for name, weight in found[0].named_parameters():
        torch.testing.assert_close(found[1].get_parameter(name).grad, weight.grad, rtol=0, atol=0)


def test_evaluation_computes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_student(width=0.25)
    set_recompute(network, recompute=True)
    monkeypatch.setattr(AttentionPlanes, "_kept", lambda *_: pytest.fail("computed again"))
    tiles = torch.randn(2, 3, 256, 256)
    network.eval()(tiles)
    with torch.no_grad():
        network.train()(tiles)
    with pytest.raises(pytest.fail.Exception):
        network(tiles)
