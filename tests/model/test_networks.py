"""Shapes, refusals and half precision of both networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

import napari_hmkd.model as model
from napari_hmkd.model import (
    Student,
    StudentOutput,
    TeacherOutput,
    blocks,
    build_student,
    build_teacher,
    mixer,
)
from napari_hmkd.model.mixer import MultiScaleConv
from napari_hmkd.model.planes import AttentionPlanes, attend

Output = StudentOutput | TeacherOutput
ROLES = ("teacher", "student")
WIDTH = 0.5


@pytest.fixture(scope="module")
def networks() -> dict[str, torch.nn.Module]:
    """Narrow networks with fresh weights, in eval mode."""
    torch.manual_seed(0)
    builders = {"teacher": build_teacher, "student": build_student}
    return {role: build(width=WIDTH).eval() for role, build in builders.items()}


@pytest.fixture(params=ROLES)
def grade(
    request: pytest.FixtureRequest, networks: dict[str, torch.nn.Module]
) -> Callable[..., Output]:
    """Run the network of a role on as many stains as it needs."""

    def run(he: torch.Tensor, **options: bool) -> Output:
        stains = (he, he.flip(0)) if request.param == "teacher" else (he,)
        with torch.inference_mode():
            return networks[request.param](*stains, **options)

    return run


def all_matrices(output: Output) -> list[torch.Tensor]:
    if isinstance(output, StudentOutput):
        return list(output.attention)
    return [*output.attention.he, *output.attention.ihc]


def tiles(batch: int = 2, side_px: int = 256, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 3, side_px, side_px, generator=torch.Generator().manual_seed(seed))


def test_every_public_name_exists() -> None:
    assert sorted(model.__all__) == model.__all__
    assert all(getattr(model, name) is not None for name in model.__all__)


@pytest.mark.parametrize("side_px", [256, 512, 768])
def test_shapes(grade: Callable[..., Output], side_px: int) -> None:
    output = grade(tiles(2, side_px), attention=True)
    shapes = [tuple(t.shape) for t in (output.logits, output.pooled, output.embedding)]
    assert shapes == [(2, 4), (2, 224), (2, 128)]
    for level, matrix in enumerate(all_matrices(output)):
        tokens = (side_px // (32 * 2 ** (level % 3))) ** 2
        assert matrix.shape == (2, tokens, tokens)
        assert matrix.dtype == torch.float32


def test_attention_only_when_asked(grade: Callable[..., Output]) -> None:
    assert grade(tiles()).attention is None
    assert torch.equal(grade(tiles()).logits, grade(tiles(), attention=True).logits)


def test_a_tile_does_not_depend_on_its_batch(grade: Callable[..., Output]) -> None:
    pair = tiles(2)
    alone = grade(pair[[0, 0]]).logits[0]
    twice = grade(torch.cat([pair[[0, 0]], pair[[0, 0]]])).logits
    torch.testing.assert_close(twice, alone.expand(4, 4), rtol=1e-5, atol=1e-6)


def test_memory_order_changes_nothing(grade: Callable[..., Output]) -> None:
    x = tiles()
    last = grade(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last.pooled, grade(x).pooled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((2, 3, 250, 250), "250"),
        ((2, 3, 0, 0), "0"),
        ((2, 3, 256, 512), "256, 512"),
        ((2, 4, 256, 256), "4, 256"),
        ((3, 256, 256), "3, 256"),
    ],
)
def test_other_shapes_are_refused(
    grade: Callable[..., Output], shape: tuple[int, ...], found: str
) -> None:
    with pytest.raises(ValueError, match=found):
        grade(torch.zeros(shape))


def test_unpaired_stains_are_refused(networks: dict[str, torch.nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"256.*512"):
        networks["teacher"](tiles(2, 256), tiles(2, 512))


@pytest.mark.parametrize(
    ("width", "channels"),
    [
        (1.0, (48, 96, 224, 448)),
        (0.5, (32, 48, 112, 224)),
        (0.25, (32, 32, 56, 112)),
        (0.01, (32, 32, 32, 32)),
    ],
)
def test_channels_by_width(width: float, channels: tuple[int, ...]) -> None:
    assert model.stage_channels(width) == channels


@pytest.mark.parametrize("width", [0.0, -1.0, 9.0, float("nan"), float("inf")])
def test_impossible_widths_are_refused(width: float) -> None:
    with pytest.raises(ValueError, match="width"):
        build_student(width=width)


@pytest.mark.parametrize(
    ("channels", "groups"), [(4, (1, 1, 1, 1)), (6, (3, 1, 1, 1)), (14, (5, 3, 3, 3))]
)
def test_multi_scale_groups_cover_the_channels(channels: int, groups: tuple[int, ...]) -> None:
    conv = MultiScaleConv(channels)
    assert conv.groups == groups
    assert conv(torch.zeros(1, channels, 2, 2)).shape == (1, channels, 2, 2)


@pytest.mark.parametrize("channels", [4, 14])
def test_a_gpu_has_the_scales_and_gradients_of_a_cpu(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    conv = MultiScaleConv(channels).double()
    x = torch.randn(2, channels, 9, 9, dtype=torch.float64, requires_grad=True)

    def answer_and_gradients() -> tuple[torch.Tensor, ...]:
        answer = conv(x)
        return (answer, *torch.autograd.grad(answer.square().sum(), (x, *conv.parameters())))

    wanted = answer_and_gradients()
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    for found, one in zip(answer_and_gradients(), wanted, strict=True):
        torch.testing.assert_close(found, one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [1, 2, 9])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_scales_are_the_same_with_and_without_gradients(
    side: int, order: torch.memory_format
) -> None:
    torch.manual_seed(0)
    conv = MultiScaleConv(14).double()
    x = torch.randn(2, 14, side, side, dtype=torch.float64).contiguous(memory_format=order)
    with torch.inference_mode():
        found = conv(x)
    wanted = conv(x)
    assert wanted.requires_grad
    torch.testing.assert_close(found, wanted.detach(), rtol=0, atol=1e-14)


def test_answers_with_weights_that_it_does_not_own() -> None:
    """As functional calls and pruning have them."""
    torch.manual_seed(0)
    student, other = (build_student(width=0.25).eval() for _ in range(2))
    with torch.no_grad():
        found = functional_call(student, dict(other.state_dict()), (tiles(1),))
        torch.testing.assert_close(found.logits, other(tiles(1)).logits, rtol=0, atol=0)


def test_an_export_serves_batches_of_any_size() -> None:
    layer = blocks.PatchEmbedding(3, 8, 4).eval()
    shapes = ({0: torch.export.Dim("batch", min=2, max=blocks.LARGE_MAP)},)
    program = torch.export.export(layer, (torch.randn(2, 3, 8, 8),), dynamic_shapes=shapes)
    x = torch.randn(7, 3, 8, 8)
    torch.testing.assert_close(program.module()(x), layer(x))


def test_a_trace_has_the_convolutions_that_other_devices_are_fast_in() -> None:
    with torch.no_grad():
        traced = torch.jit.trace(MultiScaleConv(8), torch.zeros(1, 8, 4, 4))
    assert str(traced.inlined_graph).count("aten::_convolution") == 4


@pytest.mark.parametrize("role", ROLES)
def test_each_depthwise_convolution_leaves_cudnn_alone(
    role: str, networks: dict[str, torch.nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, alone, shared = [False], [], []

    @contextmanager
    def own_kernels(device: torch.device) -> Iterator[None]:
        inside[0] = True
        yield
        inside[0] = False

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), more=None):
            more = more or {}
            if function is torch.conv2d:
                groups = arguments[6] if len(arguments) > 6 else more.get("groups", 1)
                (alone if inside[0] else shared).append(groups)
            return function(*arguments, **more)

    for module in (blocks, mixer):
        monkeypatch.setattr(module, "own_kernels", own_kernels)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    stains = (tiles(1),) * (2 if role == "teacher" else 1)
    with Watch():
        networks[role](*stains)
    assert {1} == set(shared)
    assert min(alone) > 1, "of one channel it is not depthwise to torch, which goes tile by tile"
    depthwise, several = (
        sum(isinstance(one, kind) for one in networks[role].modules())
        for kind in (blocks.DepthwiseConv, MultiScaleConv)
    )
    assert len(alone) == depthwise - (len(mixer.KERNELS) - 1) * several


def test_too_few_channels_for_four_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="larger width"):
        Student((24, 48, 112, 224))


def test_planes_follow_the_formula() -> None:
    torch.manual_seed(1)
    planes = AttentionPlanes().eval()
    query, key, value = torch.randn(2, 12, 2, 3), torch.randn(2, 12, 2, 3), torch.randn(2, 3, 2, 3)
    q, k = (x.reshape(2, 4, 3, 6) for x in (query, key))
    scores = planes.norm(planes.mix(torch.einsum("bmci,bmcj->bmij", q, k) / 3**0.5))
    wanted = planes.merge(scores * scores.softmax(dim=3))[:, 0]
    torch.testing.assert_close(planes(query, key), wanted)
    gathered = torch.einsum("bij,bcj->bci", wanted, value.flatten(2)).reshape(2, 3, 2, 3)
    torch.testing.assert_close(attend(wanted, value), gathered)


def test_one_query_map_serves_all_four() -> None:
    planes = AttentionPlanes().eval()
    query, key = torch.randn(1, 3, 2, 2), torch.randn(1, 12, 2, 2)
    torch.testing.assert_close(planes(query, key), planes(query.repeat(1, 4, 1, 1), key))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("role", ROLES)
def test_large_weights_stay_finite_in_half_precision(role: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = (build_teacher if role == "teacher" else build_student)(width=WIDTH)
    for name, parameter in network.named_parameters():
        if name.endswith(("query.pointwise.weight", "key.pointwise.weight")):
            parameter.data.mul_(30)  # else the scores vanish beside BatchNorm's eps
        elif name.endswith(("planes.norm.weight", "planes.merge.weight")):
            parameter.data.mul_(1e3)
    stains = [tiles(seed=seed) for seed in range(2 if role == "teacher" else 1)]
    with torch.autocast("cpu", dtype):
        output = network(*stains, attention=True)
    output.logits.sum().backward()
    # float16 ends at 65504: without the float32 islands this overflows.
    assert max(matrix.abs().max() for matrix in all_matrices(output)) > 65504
    for tensor in (output.logits, output.pooled, output.embedding, *all_matrices(output)):
        assert tensor.dtype == torch.float32
        assert tensor.isfinite().all()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_no_parameter_is_left_over() -> None:
    network = build_student(width=WIDTH)
    output = network(tiles(4), attention=True)
    (output.logits.square().sum() + sum(a.square().sum() for a in output.attention)).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_fresh_weights_follow_the_published_scheme() -> None:
    torch.manual_seed(0)
    network = build_student()
    assert network.head.embed.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert network.stages[2].blocks[0].mlp.expand.weight.std().item() == pytest.approx(
        0.02, rel=0.05
    )
    assert all(not p.any() for name, p in network.named_parameters() if name.endswith("bias"))
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-5}
    assert all((norm.weight == 1).all() for norm in norms)
