"""One tile alone is answered by all threads, with the numbers that one of them finds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.model import blocks, build_student, build_teacher
from napari_hmkd.model.blocks import Mlp, PatchEmbedding, Projection, in_halves
from napari_hmkd.model.cross import CrossBlock, DistilledBlock
from napari_hmkd.model.mixer import Block, Mixer
from napari_hmkd.model.sharing import answer_in_parts

THREADS, CHANNELS = 2, 32

Forward = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture(autouse=True)
def two_threads() -> None:
    torch.set_num_threads(THREADS)


@dataclass
class Branching:
    """A module in evaluation, and two layers that need nothing of each other."""

    forward: Forward
    layers: tuple[nn.Module, nn.Module]
    autocast: list[bool] = field(default_factory=list)
    """Whether each layer of those that met ran under it."""

    def meet(self) -> None:
        """Each layer waits for the other one to begin: one after the other they fail."""
        begun = threading.Barrier(2)

        def wait(*_: object) -> None:
            begun.wait(timeout=30)
            self.autocast.append(torch.is_autocast_enabled("cpu"))

        for layer in self.layers:
            layer.register_forward_pre_hook(wait)


def mixer() -> Branching:
    made = Mixer(CHANNELS).eval()
    return Branching(made, (made.global_unit, made.local_unit))


def distilled() -> Branching:
    made = DistilledBlock(CHANNELS).eval()
    return Branching(lambda x: made(x, False)[0], (made.he.query, made.he.mlp))


def crossed() -> Branching:
    made = CrossBlock(CHANNELS).eval()
    return Branching(lambda x: made(x, x.flip(3), False)[0], (made.he.key, made.ihc.key))


@pytest.fixture(params=[mixer, distilled, crossed])
def branching(request: pytest.FixtureRequest) -> Branching:
    torch.manual_seed(0)
    return request.param()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(1, CHANNELS, 16, 16, generator=torch.Generator().manual_seed(0))


def alone(forward: Forward, x: torch.Tensor) -> torch.Tensor:
    """What is found where no thread has anything to spare."""
    return answer_in_parts(forward, x.repeat(THREADS, 1, 1, 1))[0]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_branches_run_beside_each_other_and_find_the_same_bits(
    branching: Branching, x: torch.Tensor, mode: type
) -> None:
    with mode():
        wanted = alone(branching.forward, x)
        branching.meet()
        (found,) = answer_in_parts(branching.forward, x)
    assert torch.equal(found, wanted)
    assert found.stride() == wanted.stride()
    assert found.is_inference() is (mode is torch.inference_mode)


def test_branches_share_the_autocast_of_their_caller(branching: Branching, x: torch.Tensor) -> None:
    def forward(part: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return branching.forward(part)

    with torch.inference_mode():
        wanted = alone(forward, x)
        branching.meet()
        (found,) = answer_in_parts(forward, x)
        answer_in_parts(branching.forward, x)
    assert torch.equal(found, wanted)
    assert branching.autocast == [True, True, False, False]


@pytest.mark.parametrize("which", [0, 1])
def test_an_error_in_a_branch_reaches_the_caller(
    branching: Branching, x: torch.Tensor, which: int
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no memory")

    branching.meet()
    branching.layers[which].register_forward_hook(fail)
    with torch.inference_mode(), pytest.raises(RuntimeError, match="no memory"):
        answer_in_parts(branching.forward, x)


@pytest.mark.parametrize(
    ("layer", "step", "shape"),
    [
        (Mlp(8), 1, (1, 8, 6, 4)),
        (Mlp(8), 1, (2, 8, 5, 4)),
        (Mlp(8), 1, (1, 8, 1, 4)),
        (PatchEmbedding(3, 8, 32).project, 32, (1, 3, 96, 64)),
        (PatchEmbedding(3, 8, 32).project, 32, (1, 3, 32, 64)),
    ],
)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_halves_are_the_whole(
    layer: nn.Module, step: int, shape: tuple[int, ...], order: torch.memory_format
) -> None:
    grid = torch.randn(shape).to(memory_format=order)
    seen: list[int] = []
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2]))
    with torch.inference_mode():
        (found,) = answer_in_parts(lambda _: in_halves(layer, grid, step), grid[:1])
        torch.testing.assert_close(found, layer(grid), rtol=0, atol=1e-6)
    assert len(seen) == (3 if shape[2] > step else 2)
    assert sum(seen) == 2 * shape[2]


@pytest.mark.parametrize(
    ("layer", "shape", "more"),
    [
        (Projection(8), (1, 8, 4, 4), 1),
        (PatchEmbedding(3, 8, 4), (1, 3, 8, 8), 1),
        (Block(CHANNELS), (1, CHANNELS, 4, 4), 2),  # both convolutions of its MLP
    ],
)
def test_a_layer_alone_is_convolved_in_parts(
    layer: nn.Module, shape: tuple[int, ...], more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "LARGE_MAP", 0)
    calls: list[None] = []
    plain = functional.conv2d
    monkeypatch.setattr(functional, "conv2d", lambda *a, **k: calls.append(None) or plain(*a, **k))
    x = torch.randn(shape)
    with torch.inference_mode():
        wanted = alone(layer.eval(), x)
        count = len(calls) // THREADS
        (found,) = answer_in_parts(layer, x)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert len(calls) - THREADS * count == count + more


def test_the_teacher_looks_at_both_stains_at_once() -> None:
    teacher = build_teacher(width=0.25).eval()
    layers = teacher.he_stages[0].embedding, teacher.ihc_stages[0].embedding
    Branching(teacher, layers).meet()
    with torch.inference_mode():
        answer_in_parts(teacher, *torch.randn(2, 1, 3, 256, 256))


@pytest.mark.parametrize("build", [build_student, build_teacher])
@pytest.mark.parametrize("side_px", [256, 512])
def test_networks_answer_as_they_do_in_one_thread(
    build: Callable[..., nn.Module], side_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "LARGE_MAP", 0)
    torch.manual_seed(0)
    network = build(width=0.25).eval()
    tiles = torch.randn(2 if build is build_teacher else 1, 1, 3, side_px, side_px)
    with torch.inference_mode():
        (found,) = answer_in_parts(network, *tiles)
        torch.set_num_threads(1)
        (wanted,) = answer_in_parts(network, *tiles)
    for one, other in zip((found.logits, *found.maps), (wanted.logits, *wanted.maps), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * other.abs().max().item())


def test_gradients_are_not_lost_beside_each_other(branching: Branching, x: torch.Tensor) -> None:
    def gradient(forward: Callable[[Forward, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        learnt = x.clone().requires_grad_()
        forward(branching.forward, learnt).square().sum().backward()
        assert learnt.grad is not None
        return learnt.grad

    found = gradient(lambda forward, x: answer_in_parts(forward, x)[0])
    assert torch.equal(found, gradient(alone))
