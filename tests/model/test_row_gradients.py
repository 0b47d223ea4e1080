"""Attention that is trained by rows has the values and gradients of whole planes, and keeps none."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch.autograd import gradcheck

from napari_hmkd.model import build_student, score_rows
from napari_hmkd.model.attention_rows import AttentionRows, Kept, as_matrix
from napari_hmkd.model.gather import gather
from napari_hmkd.model.planes import (
    MAPS,
    SCORE_LIMIT,
    AttentionForm,
    AttentionPlanes,
    attend,
    set_recompute,
)
from napari_hmkd.model.row_gradients import attend_by_rows, attend_with_rows
from napari_hmkd.model.score_moments import score_moments

CLOSE = {torch.float64: 1e-12, torch.float32: 3e-5}
Inputs = list[torch.Tensor]


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


def by_plane(planes: AttentionPlanes, inputs: Inputs) -> torch.Tensor:
    return attend(planes(*inputs[:2]), inputs[2])


def by_rows(planes: AttentionPlanes, inputs: Inputs) -> torch.Tensor:
    return attend_by_rows(planes, *inputs)


def with_rows(planes: AttentionPlanes, inputs: Inputs) -> torch.Tensor:
    return attend_with_rows(planes, *inputs)[0]


WAYS = (by_rows, with_rows)
Way = Callable[[AttentionPlanes, Inputs], torch.Tensor]


def trained(planes: AttentionPlanes, inputs: Inputs, way: Way) -> dict[str, torch.Tensor]:
    """The result of a step, all gradients, and the statistics that it leaves."""
    out = way(planes, inputs)
    out.backward(torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out))
    named = {
        "query": inputs[0],
        "key": inputs[1],
        "value": inputs[2],
        **dict(planes.named_parameters()),
    }
    found = {name: tensor.grad for name, tensor in named.items()}
    return {"out": out.detach(), **found, **dict(planes.named_buffers())}  # type: ignore[dict-item]


def assert_steps_agree(planes: AttentionPlanes, inputs: Inputs, slack: float = 1) -> None:
    """A step of each way, from where `planes` is now; it takes the step itself, too."""
    planes.zero_grad()
    others = [deepcopy((planes, [x.detach() for x in inputs])) for _ in WAYS]
    wanted = trained(planes, inputs, by_plane)
    for way, (other, copies) in zip(WAYS, others, strict=True):
        found = trained(other, [x.requires_grad_() for x in copies], way)
        for name, one in wanted.items():
            close = (
                slack * CLOSE[one.dtype] * one.abs().max().item() if one.is_floating_point() else 0
            )
            torch.testing.assert_close(
                found[name], one, rtol=0, atol=close,
                msg=lambda text, name=name, way=way: f"{way.__name__}, {name}: {text}",
            )  # fmt: skip


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
@pytest.mark.parametrize("way", WAYS)
def test_its_own_differences_confirm_the_gradients(way: Way) -> None:
    planes, inputs = make_planes(), make_inputs(1, 1, 4, 1)
    weights = tuple(planes.parameters())

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        return way(planes, list(tensors[:3]))

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
    for height in (4, 5):
        assert_steps_agree(planes, make_inputs(2, height, 4, 3))


def test_moments_of_alike_scores_hold_in_float32() -> None:
    """Where a variance in float32 would be the difference of two sums a million times as large."""
    q, k = (x.detach().view(2, MAPS, 3, 16) / 1e3 + 1 for x in make_inputs(2, 4, 4, 3)[:2])
    exact, found = score_moments(q, k), score_moments(q.float(), k.float())
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_the_same_step_twice_is_bitwise_the_same(way: Way, threads: int) -> None:
    steps = [
        trained(make_planes(torch.float32), make_inputs(3, 16, 16, 6, dtype=torch.float32), way)
        for _ in range(2)
    ]
    for name, one in steps[0].items():
        assert torch.equal(steps[1][name], one), name


@pytest.mark.parametrize("keep", [False, "rows"])
def test_no_plane_is_kept(keep: Kept) -> None:
    planes, inputs = make_planes(torch.float32), make_inputs(1, 32, 32, 6, dtype=torch.float32)
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        gather(planes, *inputs, keep)
    assert sum(sizes) < 4 * (32 * 32) ** 2


@pytest.mark.parametrize("keep", [False, "rows"])
@pytest.mark.parametrize(
    ("recompute", "training", "channels", "form", "used"),
    [
        (True, True, 5, "auto", True),
        (False, True, 5, "auto", False),  # memory is no concern
        (True, False, 5, "auto", False),
        (True, True, 6, "auto", False),  # more channels than pay
        (True, True, 5, "plain", False),
    ],
)
def test_it_is_used_where_training_saves_memory(
    recompute: bool, training: bool, channels: int, form: AttentionForm, used: bool, keep: Kept
) -> None:
    planes, inputs = make_planes().train(training), make_inputs(1, 8, 8, channels)
    planes.recompute, planes.form = recompute, form
    whole: list[torch.Tensor] = []
    planes.norm.register_forward_hook(lambda *seen: whole.append(seen[2]))
    _, attention = gather(planes, *inputs, keep)
    assert bool(whole) != used
    if not keep:
        assert attention is None
    else:
        assert isinstance(attention, AttentionRows if used else torch.Tensor)


@pytest.mark.parametrize("form", ["auto", "plain"])
@pytest.mark.parametrize("recompute", [True, False])
def test_a_frozen_network_gives_rows_where_training_saves_memory(
    recompute: bool, form: AttentionForm
) -> None:
    planes, inputs = make_planes().eval(), make_inputs(1, 8, 8, 5)
    planes.recompute, planes.form = recompute, form
    with torch.no_grad():
        found, rows = gather(planes, *inputs, "rows")
        wanted, plane = gather(planes, *inputs, keep=True)
    assert isinstance(plane, torch.Tensor)
    assert isinstance(rows, AttentionRows) == (recompute and form == "auto")
    assert torch.equal(found, wanted)
    torch.testing.assert_close(as_matrix(rows), plane, rtol=0, atol=1e-13)


def test_who_asks_for_matrices_gets_them() -> None:
    _, attention = gather(make_planes(), *make_inputs(1, 8, 8, 5), keep=True)
    assert isinstance(attention, torch.Tensor)
    assert attention.requires_grad


@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_gradients_are_refused(way: Way) -> None:
    """Not left out, as they would be of a sum with other terms."""
    inputs = make_inputs(1, 3, 3, 2)
    loss = way(make_planes(), inputs).square().sum() + inputs[0].pow(3).sum()
    with pytest.raises(ValueError, match=r"set_recompute\(network, False\)"):
        torch.autograd.grad(loss, inputs[:1], create_graph=True)


@pytest.mark.parametrize("way", [*WAYS, by_plane])
def test_a_step_can_go_back_twice(way: Way) -> None:
    planes, inputs = make_planes(), make_inputs(1, 3, 3, 2)
    loss = way(planes, inputs).square().sum()
    learnt = (*inputs, *planes.parameters())
    first = torch.autograd.grad(loss, learnt, retain_graph=True)
    for one, other in zip(torch.autograd.grad(loss, learnt), first, strict=True):
        assert torch.equal(one, other)
    assert planes.norm.num_batches_tracked == 1


@pytest.mark.parametrize("keep", [False, "rows"])
def test_a_frozen_norm_keeps_its_statistics(keep: Kept) -> None:
    found = []
    for form in ("auto", "plain"):
        planes, inputs = make_planes(), make_inputs(2, 8, 8, 5)
        planes.norm.eval().running_mean.fill_(0.3)
        planes.form = form
        out, attention = gather(planes, *inputs, keep)
        assert not isinstance(attention, AttentionRows)
        gradients = torch.autograd.grad(out.square().sum(), (*inputs, *planes.parameters()))
        found.append((out, *gradients, *planes.buffers()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_a_network_trains_as_with_whole_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_hmkd.model.gather.TOKENS_PER_CHANNEL", 0)
    steps = []
    for form in ("auto", "plain"):
        torch.manual_seed(0)
        student = build_student(width=0.25, attention_form=form).double().train()  # type: ignore[arg-type]
        set_recompute(student, recompute=True)
        output = student(torch.randn(2, 3, 256, 256, dtype=torch.float64))
        output.logits.square().sum().backward()
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
