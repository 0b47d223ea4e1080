"""Attention that is trained by rows has the values and gradients of whole planes, and keeps none."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch.autograd import gradcheck

from napari_hmkd.model import build_student, score_rows
from napari_hmkd.model import gather as choices
from napari_hmkd.model.gather import gather
from napari_hmkd.model.planes import MAPS, SCORE_LIMIT, AttentionPlanes, attend, set_recompute
from napari_hmkd.model.row_gradients import attend_by_rows
from napari_hmkd.model.score_moments import score_moments

CLOSE = {torch.float64: 1e-12, torch.float32: 3e-5}
Inputs = list[torch.Tensor]


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many torch may use."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of three rows, or more where tokens are few."""
    monkeypatch.setattr(score_rows, "BLOCK_ELEMENTS", 3 * MAPS * 20)
    monkeypatch.setattr(score_rows, "LEAST_ROWS", 1)


def make_planes(dtype: torch.dtype = torch.float64) -> AttentionPlanes:
    torch.manual_seed(0)
    planes = AttentionPlanes()
    planes.norm.weight.data.uniform_(0.5, 1.5)
    planes.norm.bias.data.uniform_(-0.3, 0.3)
    planes.recompute = True
    return planes.to(dtype).train()


def make_inputs(
    batch: int, height: int, width: int, channels: int, query_maps: int = MAPS,
    dtype: torch.dtype = torch.float64,
) -> Inputs:  # fmt: skip
    torch.manual_seed(1)
    shape = (height, width)
    return [
        torch.randn(batch, of * channels, *shape, dtype=torch.float64).to(dtype).requires_grad_()
        for of in (query_maps, MAPS, 1)
    ]


def trained(planes: AttentionPlanes, inputs: Inputs, by_rows: bool) -> dict[str, torch.Tensor]:
    """The result of a step, all gradients, and the statistics that it leaves."""
    if by_rows:
        out = attend_by_rows(planes, *inputs)
    else:
        out = attend(planes(*inputs[:2]), inputs[2])
    out.backward(torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out))
    named = dict(zip(("query", "key", "value"), inputs, strict=True)) | dict(
        planes.named_parameters()
    )
    found = {name: tensor.grad for name, tensor in named.items()}
    return {"out": out.detach(), **found, **dict(planes.named_buffers())}  # type: ignore[dict-item]


def assert_steps_agree(planes: AttentionPlanes, inputs: Inputs, slack: float = 1) -> None:
    planes.zero_grad()
    other, copies = deepcopy(planes), [x.detach().clone().requires_grad_() for x in inputs]
    found, wanted = trained(planes, inputs, True), trained(other, copies, False)
    for name, one in wanted.items():
        close = slack * CLOSE[inputs[0].dtype] * one.abs().max().item()
        torch.testing.assert_close(
            found[name], one, rtol=0, atol=close, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("dtype", list(CLOSE), ids=str)
@pytest.mark.parametrize("query_maps", [1, MAPS])
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 1, 2), (3, 4, 5), (2, 3, 3), (1, 8, 8)])
def test_steps_are_those_of_whole_planes(
    batch: int, height: int, width: int, query_maps: int, dtype: torch.dtype, threads: int
) -> None:
    inputs = make_inputs(batch, height, width, 3, query_maps, dtype)
    assert_steps_agree(make_planes(dtype), inputs)


@pytest.mark.usefixtures("few_rows")
def test_its_own_differences_confirm_the_gradients() -> None:
    planes, inputs = make_planes(), make_inputs(2, 2, 3, 2)
    weights = tuple(planes.parameters())

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        return attend_by_rows(planes, *tensors[:3])

    assert gradcheck(run, (*inputs, *weights))


def test_scores_beyond_the_limit_have_no_gradient_either() -> None:
    planes, inputs = make_planes(), make_inputs(2, 4, 4, 3)
    planes.norm.weight.data.mul_(SCORE_LIMIT)
    with torch.no_grad():
        limited = planes.norm(planes._mixed(*inputs[:2])).abs() > SCORE_LIMIT
    assert 0.1 < limited.double().mean() < 0.9
    assert_steps_agree(
        planes, inputs, slack=100
    )  # softmax takes the rounding of such scores to heart


def test_constant_tokens_agree() -> None:
    inputs = [torch.full_like(x, 0.3).requires_grad_() for x in make_inputs(2, 4, 4, 3)]
    assert_steps_agree(make_planes(), inputs)


@pytest.mark.parametrize("momentum", [None, 0.1, 1.0])
def test_statistics_move_as_the_norm_says(momentum: float | None) -> None:
    planes = make_planes()
    planes.norm.momentum = momentum
    for _ in range(2):
        assert_steps_agree(planes, make_inputs(2, 4, 4, 3))


def test_moments_of_alike_scores_hold_in_float32() -> None:
    """Where a variance in float32 would be the difference of two sums a million times as large."""
    q, k = (x.detach().view(2, MAPS, 3, 16) / 1e3 + 1 for x in make_inputs(2, 4, 4, 3)[:2])
    exact, found = score_moments(q, k), score_moments(q.float(), k.float())
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_same_step_twice_is_bitwise_the_same(threads: int) -> None:
    steps = [
        trained(make_planes(torch.float32), make_inputs(3, 16, 16, 6, dtype=torch.float32), True)
        for _ in range(2)
    ]
    for name, one in steps[0].items():
        assert torch.equal(steps[1][name], one), name


def test_no_plane_is_kept() -> None:
    planes, inputs = make_planes(torch.float32), make_inputs(1, 32, 32, 6, dtype=torch.float32)
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        gather(planes, *inputs)
    plane_bytes = 4 * (32 * 32) ** 2
    assert 0 < sum(sizes) < plane_bytes


@pytest.mark.parametrize(
    ("recompute", "training", "keep", "channels", "by_rows"),
    [
        (True, True, False, 5, True),
        (False, True, False, 5, False),  # memory is no concern
        (True, False, False, 5, False),
        (True, True, True, 5, False),  # A is asked for
        (True, True, False, 6, False),  # more channels than pay
    ],
)
def test_it_is_used_where_training_saves_memory(
    monkeypatch: pytest.MonkeyPatch, recompute: bool, training: bool, keep: bool, channels: int,
    by_rows: bool,
) -> None:  # fmt: skip
    used: list[int] = []
    monkeypatch.setattr(choices, "attend_by_rows", lambda *_: used.append(1))
    planes, inputs = make_planes().train(training), make_inputs(1, 8, 8, channels)
    planes.recompute = recompute
    gather(planes, *inputs, keep)
    assert bool(used) == by_rows
    used.clear()
    planes.form = "plain"
    gather(planes, *inputs, keep)
    assert not used


def test_a_network_trains_as_with_whole_planes() -> None:
    steps = []
    for form in ("auto", "plain"):
        torch.manual_seed(0)
        student = build_student(width=0.25, attention_form=form).double().train()  # type: ignore[arg-type]
        set_recompute(student, recompute=True)
        tiles = torch.randn(2, 3, 512, 512, dtype=torch.float64)
        student(tiles).logits.square().sum().backward()
        steps.append({name: w.grad for name, w in student.named_parameters()})
    for name, gradient in steps[1].items():
        torch.testing.assert_close(steps[0][name], gradient, rtol=1e-7, atol=1e-9, msg=name)


def test_sizes_of_blocks_cover_the_plane() -> None:
    planes, inputs = make_planes(), make_inputs(1, 32, 32, 2)
    key = inputs[1].unflatten(1, (MAPS, 2)).flatten(3)
    blocks = list(score_rows.ScoreRows(key, planes.mix.weight, planes.norm.bias).blocks())
    assert blocks[0][0] == 0
    assert [first for first, _ in blocks[1:]] == [stop for _, stop in blocks[:-1]]
    assert blocks[-1][1] == 32 * 32
