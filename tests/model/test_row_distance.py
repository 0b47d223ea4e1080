"""The attention loss by blocks of rows has the value and gradients of whole planes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch.autograd import gradcheck

from napari_hmkd.model import discrepancy
from napari_hmkd.model.attention_rows import AttentionRows, Level, rows_as_they_are
from napari_hmkd.model.planes import MAPS, AttentionPlanes, attend
from napari_hmkd.model.row_distance import row_distance
from napari_hmkd.model.row_gradients import attend_with_rows

CLOSE = {torch.float64: 1e-12, torch.float32: 3e-5}
CHANNELS = 3
GRIDS = ((2, 2), (3, 3), (5, 5), (8, 8))
pytestmark = pytest.mark.usefixtures("few_rows")
Step = Callable[[AttentionPlanes, list[torch.Tensor], Level], tuple[torch.Tensor, torch.Tensor]]


def make_planes(seed: int, dtype: torch.dtype = torch.float64) -> AttentionPlanes:
    torch.manual_seed(seed)
    planes = AttentionPlanes()
    planes.norm.weight.data.uniform_(0.5, 1.5)
    planes.norm.bias.data.uniform_(-0.3, 0.3)
    return planes.to(dtype)


def make_inputs(
    seed: int, grid: tuple[int, int], dtype: torch.dtype = torch.float64, channels: int = CHANNELS
) -> list[torch.Tensor]:
    """Queries, keys and values of two tiles."""
    torch.manual_seed(seed)
    return [
        torch.randn(2, of * channels, *grid, dtype=torch.float64).to(dtype) for of in (1, MAPS, 1)
    ]


def make_teacher(
    grid: tuple[int, int], dtype: torch.dtype = torch.float64, channels: int = CHANNELS
) -> tuple[torch.Tensor, AttentionRows]:
    """A frozen teacher's planes, and their rows."""
    planes = make_planes(5, dtype).eval().requires_grad_(False)
    query, key, _ = make_inputs(6, grid, dtype, channels)
    return planes(query, key), rows_as_they_are(planes, query, key)


def by_planes(
    planes: AttentionPlanes, inputs: list[torch.Tensor], teacher: Level
) -> tuple[torch.Tensor, torch.Tensor]:
    attention = planes(*inputs[:2])
    assert isinstance(teacher, torch.Tensor)
    return attend(attention, inputs[2]), discrepancy(attention, teacher).sum(dim=(1, 2))


def by_rows(
    planes: AttentionPlanes, inputs: list[torch.Tensor], teacher: Level
) -> tuple[torch.Tensor, torch.Tensor]:
    out, rows = attend_with_rows(planes, *inputs)
    return out, row_distance(rows, teacher)


def trained(
    step: Step, planes: AttentionPlanes, inputs: list[torch.Tensor], teacher: Level
) -> dict[str, torch.Tensor]:
    """What a step of a copy gives, its gradients, and the statistics that it leaves."""
    planes, inputs = deepcopy(planes).train(), [x.clone().requires_grad_() for x in inputs]
    out, distance = step(planes, inputs, teacher)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    ((out * weights).sum() + (distance * distance.new_tensor([1, 2])).sum()).backward()
    named = {**dict(zip("qkv", inputs, strict=True)), **dict(planes.named_parameters())}
    gradients = {name: tensor.grad for name, tensor in named.items()}
    assert all(gradient is not None for gradient in gradients.values())
    found = {"out": out.detach(), "distance": distance.detach(), **gradients}
    return {**found, **dict(planes.named_buffers())}  # type: ignore[dict-item]


def assert_alike(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    for name, one in wanted.items():
        close = CLOSE[one.dtype] * max(1, one.abs().max()) if one.is_floating_point() else 0
        torch.testing.assert_close(
            found[name],
            one,
            rtol=0,
            atol=float(close),
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("dtype", list(CLOSE), ids=str)
@pytest.mark.parametrize("grid", GRIDS)
def test_a_step_is_that_of_whole_planes(
    grid: tuple[int, int], dtype: torch.dtype, threads: int
) -> None:
    planes, inputs = make_planes(0, dtype), make_inputs(1, grid, dtype)
    plane, rows = make_teacher(grid, dtype)
    wanted = trained(by_planes, planes, inputs, plane)
    assert wanted["distance"].min() > 0.1
    assert_alike(trained(by_rows, planes, inputs, rows), wanted)
    assert_alike(trained(by_rows, planes, inputs, plane), wanted)


@pytest.mark.parametrize("grid", GRIDS)
def test_rows_make_the_plane(grid: tuple[int, int]) -> None:
    plane, rows = make_teacher(grid)
    torch.testing.assert_close(rows.matrix(), plane, rtol=0, atol=1e-14)
    assert rows.shape == plane.shape


def test_its_own_differences_confirm_the_gradients() -> None:
    planes, inputs = make_planes(0).train(), make_inputs(1, (1, 4), channels=1)
    _, teacher = make_teacher((1, 4), channels=1)

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return by_rows(planes, list(tensors[:3]), teacher)

    assert gradcheck(run, (*(x.requires_grad_() for x in inputs), *planes.parameters()))


def test_the_same_step_twice_is_bitwise_the_same(threads: int) -> None:
    _, teacher = make_teacher((8, 8), torch.float32)
    one, other = (
        trained(
            by_rows, make_planes(0, torch.float32), make_inputs(1, (8, 8), torch.float32), teacher
        )
        for _ in range(2)
    )
    for name, tensor in one.items():
        assert torch.equal(other[name], tensor), name


@pytest.mark.parametrize("dtype", list(CLOSE), ids=str)
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(dtype: torch.dtype) -> None:
    planes, inputs = make_planes(0, dtype).train(), make_inputs(1, (5, 5), dtype)
    inputs = [x.requires_grad_() for x in inputs]
    _, teacher = attend_with_rows(planes, *inputs)
    _, distance = by_rows(planes, inputs, teacher)
    distance.sum().backward()
    assert distance.min() >= 0
    assert distance.max() < 1e-14
    for name, tensor in (("q", inputs[0]), ("k", inputs[1]), *planes.named_parameters()):
        assert tensor.grad.abs().max() < 1e2 * torch.finfo(dtype).eps, name


def test_small_differences_are_not_lost_in_float32() -> None:
    """Where 2 - 2 c in float32 would be rounding alone."""
    planes, inputs = make_planes(0, torch.float32), make_inputs(1, (8, 8), torch.float32)
    near = deepcopy(planes)
    near.merge.weight.data.mul_(1 + 1e-4 * torch.randn_like(near.merge.weight))
    with torch.no_grad():
        student, teacher = (rows_as_they_are(one.eval(), *inputs[:2]) for one in (planes, near))
    exact = discrepancy(student.matrix().double(), teacher.matrix().double()).sum(dim=(1, 2))
    assert exact.max() < 1e-6
    torch.testing.assert_close(row_distance(student, teacher).double(), exact, rtol=1e-4, atol=0)


def silent(planes: AttentionPlanes) -> AttentionPlanes:
    """Planes whose A is all 0."""
    planes.merge.weight.data.zero_()
    return planes


@pytest.mark.parametrize("nothing", ["student", "teacher", "both"])
def test_attention_that_is_all_0(nothing: str) -> None:
    inputs, taught = make_inputs(1, (3, 3)), make_inputs(6, (3, 3))[:2]
    planes, frozen = make_planes(0), make_planes(5).eval().requires_grad_(False)
    planes = planes if nothing == "teacher" else silent(planes)
    frozen = frozen if nothing == "student" else silent(frozen)
    wanted = trained(by_planes, planes, inputs, frozen(*taught))
    assert wanted["distance"].tolist() == pytest.approx([0, 0] if nothing == "both" else [1, 1])
    assert_alike(trained(by_rows, planes, inputs, rows_as_they_are(frozen, *taught)), wanted)


def test_constant_tiles() -> None:
    inputs = [torch.full_like(x, 0.3) for x in make_inputs(1, (4, 4))]
    plane, rows = make_teacher((4, 4))
    planes = make_planes(0)
    wanted = trained(by_planes, planes, inputs, plane)
    assert_alike(trained(by_rows, planes, inputs, rows), wanted)


@pytest.mark.parametrize("scale", [1e-25, 1e20])
def test_fourth_powers_beyond_float32_do_no_harm(scale: float) -> None:
    planes, inputs = make_planes(0, torch.float32), make_inputs(1, (3, 3), torch.float32)
    planes.merge.weight.data.mul_(scale)
    inputs[2].zero_()
    plane, rows = make_teacher((3, 3), torch.float32)
    wanted = trained(by_planes, planes, inputs, plane)
    found = trained(by_rows, planes, inputs, rows)
    for name in ("distance", "k"):
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-3, atol=1e-5)


def test_levels_of_two_sizes_are_refused() -> None:
    (_, nine), (_, four) = make_teacher((3, 3)), make_teacher((2, 2))
    with pytest.raises(ValueError, match=r"9, 9.*4, 4"):
        row_distance(nine, four)


def test_rows_that_learn_are_compared_once() -> None:
    _, teacher = make_teacher((2, 2))
    _, rows = attend_with_rows(make_planes(0).train(), *make_inputs(1, (2, 2)))
    row_distance(rows, teacher)
    with pytest.raises(ValueError, match="compared once"):
        row_distance(rows, teacher)
