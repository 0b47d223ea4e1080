"""Work on a GPU that is recorded and replayed gives what it gives without."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from napari_hmkd.model import build_student, build_teacher
from napari_hmkd.model.replay import MOST_RECORDED, Replay

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device that torch finds"
)


class Counted:
    """Doubles, and counts how often Python was in it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: torch.Tensor, factor: int = 2) -> torch.Tensor:
        self.calls += 1
        return factor * x


def test_on_a_cpu_every_call_is_a_call() -> None:
    counted = Counted()
    replay = Replay(counted)
    answers = [replay(torch.full((3,), float(n))) for n in range(4)]
    assert counted.calls == 4
    assert [one[0].item() for one in answers] == [0, 2, 4, 6]


@needs_cuda
def test_on_a_gpu_a_kind_of_call_is_recorded_at_its_second_time() -> None:
    counted = Counted()
    replay = Replay(counted)
    for n in range(5):
        for size in (3, 4):
            assert replay(torch.full((size,), float(n), device="cuda")).tolist() == [2.0 * n] * size
            assert replay(torch.full((size,), float(n), device="cuda"), 3)[0].item() == 3.0 * n
        assert counted.calls == min(4 * (n + 1), 8)
    replay.forget()
    assert replay(torch.ones(3, device="cuda")).tolist() == [2.0] * 3
    assert counted.calls == 9


@needs_cuda
def test_no_more_kinds_are_recorded_than_there_is_memory_for() -> None:
    counted = Counted()
    replay = Replay(counted)
    for _ in range(4):
        for size in range(1, MOST_RECORDED + 3):
            replay(torch.ones(size, device="cuda"))
    assert counted.calls == 2 * (MOST_RECORDED + 2) + 2 * 2


def student(x: torch.Tensor) -> Callable[..., torch.Tensor]:
    torch.manual_seed(0)
    network = build_student(width=0.5).eval().to(x.device)
    return lambda pixels: network(pixels).logits


def teacher(x: torch.Tensor) -> Callable[..., torch.Tensor]:
    torch.manual_seed(0)
    network = build_teacher(width=0.5).eval().to(x.device)
    return lambda pixels: torch.cat(
        [a.flatten() for a in network(pixels, pixels.flip(1), attention=True).attention.he]
    )


@needs_cuda
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("make", [student, teacher])
def test_networks_answer_alike(
    make: Callable[..., Callable[..., torch.Tensor]], precision: torch.dtype
) -> None:
    batches = [torch.randn(2, 3, 512, 512, device="cuda") for _ in range(5)]
    network = make(batches[0])

    def answer(pixels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(
            "cuda", precision, enabled=precision != torch.float32, cache_enabled=False
        ):
            return network(pixels)

    replay = Replay(answer)
    with torch.no_grad():
        for batch in batches:
            torch.testing.assert_close(replay(batch).clone(), answer(batch), rtol=1e-3, atol=1e-4)
