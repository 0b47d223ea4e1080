"""Attention by blocks of rows gives the numbers of the formula's whole planes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from napari_hmkd.model import build_student, build_teacher, row_blocks
from napari_hmkd.model.gather import gather, set_attention_form
from napari_hmkd.model.planes import MAPS, SCORE_LIMIT, AttentionForm, AttentionPlanes, attend

BUILD = {"teacher": build_teacher, "student": build_student}
CLOSE = {torch.float64: 1e-12, torch.float32: 1e-5}
DTYPES = sorted(CLOSE, key=str)

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def assert_same(found: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype) -> None:
    """Alike within what the dtype can hold, relative to the largest of the finite values."""
    assert found.dtype == wanted.dtype == dtype
    assert torch.equal(found.isnan(), wanted.isnan())
    largest = wanted.nan_to_num().abs().max().item()
    torch.testing.assert_close(found, wanted, rtol=0, atol=CLOSE[dtype] * largest, equal_nan=True)


def stirred(network: nn.Module) -> nn.Module:
    """The network in evaluation, with norms that do something and scores that matter."""
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                tensor.data.uniform_(-0.3, 0.3)
        if name.endswith(("query.pointwise", "key.pointwise")):
            module.weight.data.mul_(20)
        if name.endswith(("planes.mix", "planes.merge")):
            module.weight.data.mul_(10)
    return network.eval()


def make_planes(seed: int = 0, dtype: torch.dtype = torch.float64) -> AttentionPlanes:
    torch.manual_seed(seed)
    return stirred(AttentionPlanes()).to(dtype)  # type: ignore[return-value]


def make_inputs(
    batch: int, height: int, width: int, channels: int, query_maps: int = MAPS, seed: int = 0
) -> Inputs:
    torch.manual_seed(seed)
    maps = (query_maps, MAPS, 1)
    query, key, value = (
        torch.randn(batch, of * channels, height, width, dtype=torch.float64) for of in maps
    )
    return query, key, value


def plainly(planes: AttentionPlanes, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """A v and A, by whole planes."""
    with torch.no_grad():
        attention = planes(*inputs[:2])
        return attend(attention, inputs[2]), attention


def by_blocks(planes: AttentionPlanes, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by `attend_by_blocks`, found to be what evaluation uses."""
    with torch.no_grad():
        out, attention = row_blocks.attend_by_blocks(planes, *inputs, keep=True)
        chosen, none = gather(planes, *inputs)
    assert torch.equal(chosen.nan_to_num(), out.nan_to_num())
    assert none is None
    assert attention is not None
    return out, attention


def assert_blocks_agree(planes: AttentionPlanes, inputs: Inputs) -> None:
    for found, wanted in zip(by_blocks(planes, inputs), plainly(planes, inputs), strict=True):
        assert_same(found, wanted, inputs[0].dtype)


def run(network: nn.Module, tiles: torch.Tensor) -> Any:
    stains = (tiles, tiles.flip(0)) if hasattr(network, "ihc_stages") else (tiles,)
    with torch.inference_mode():
        return network(*stains, attention=True)


def all_tensors(output: Any) -> list[torch.Tensor]:
    matrices = output.attention
    if not isinstance(matrices, tuple):
        matrices = (*matrices.he, *matrices.ihc)
    return [output.logits, output.pooled, output.embedding, *output.maps, *matrices]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("role", "side_px", "width", "batch"),
    [
        ("student", 256, 1.0, 3),
        ("student", 512, 0.5, 3),
        ("student", 1024, 0.25, 2),
        ("student", 512, 0.25, 1),
        ("teacher", 256, 0.5, 3),
        ("teacher", 512, 1.0, 1),
    ],
)
def test_networks_answer_as_with_whole_planes(
    role: str, side_px: int, width: float, batch: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    fast = stirred(BUILD[role](width=width)).to(dtype)
    plain = BUILD[role](width=width, attention_form="plain").to(dtype).eval()
    plain.load_state_dict(fast.state_dict())
    tiles = torch.randn(batch, 3, side_px, side_px, dtype=dtype)
    tiles[-1] = 0.7  # nothing but glass
    found, wanted = (all_tensors(run(network, tiles)) for network in (fast, plain))
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other, dtype)
    assert wanted[-1].std() > 1e-3 * wanted[-1].abs().max()  # attention that says something


@pytest.mark.parametrize("query_maps", [1, MAPS])
@pytest.mark.parametrize(("grid", "batch"), [(1, 1), (4, 3), (8, 20), (16, 2), (32, 1)])
def test_blocks_agree_at_every_level(grid: int, batch: int, query_maps: int, threads: int) -> None:
    assert_blocks_agree(make_planes(), make_inputs(batch, grid, grid, 6, query_maps))


@settings(max_examples=60)
@given(
    batch=st.integers(1, 7),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    channels=st.integers(1, 5),
    query_maps=st.sampled_from([1, MAPS]),
    elements=st.integers(1, 4000),
    least_rows=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_blocks_of_any_size_agree(
    batch: int, height: int, width: int, channels: int, query_maps: int,
    elements: int, least_rows: int, seed: int,
) -> None:  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_blocks, "BLOCK_ELEMENTS", elements)
        patch.setattr(row_blocks, "LEAST_ROWS", least_rows)
        assert_blocks_agree(
            make_planes(seed), make_inputs(batch, height, width, channels, query_maps, seed)
        )


@pytest.mark.parametrize(
    ("size", "least", "most"),
    [(0, 0, 2), (30, 80, 1e3), (1e3, 1e3, SCORE_LIMIT), (1e6, SCORE_LIMIT, 1e9)],
)
def test_outsize_scores_agree(size: float, least: float, most: float) -> None:
    planes, (query, key, value) = make_planes(), make_inputs(2, 8, 8, 6)
    inputs = (size * query, key, value)
    with torch.no_grad():
        assert least <= planes.norm(planes._mixed(*inputs[:2])).abs().max() <= most
    assert_blocks_agree(planes, inputs)
    exact = by_blocks(planes, inputs)
    assert exact[1].abs().max() <= SCORE_LIMIT * planes.merge.weight.abs().sum()
    # Such scores are not exact in float32: they may be as far from the truth as whole planes' are.
    single, rounded = planes.float(), tuple(x.float() for x in inputs)
    for truth, one, other in zip(exact, by_blocks(single, rounded), plainly(single, rounded), strict=True):  # type: ignore[arg-type]  # fmt: skip
        errors = [(truth - x).abs().max() / truth.abs().max() for x in (one, other)]
        assert errors[0] <= 2 * errors[1] + CLOSE[torch.float32]


def test_constant_tokens_agree() -> None:
    assert_blocks_agree(make_planes(), tuple(torch.full_like(x, 0.3) for x in make_inputs(2, 8, 8, 6)))  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize("spoilt", range(3), ids=["query", "key", "value"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_shown_where_whole_planes_show_it(spoilt: int, value: float) -> None:
    planes, inputs = make_planes(), make_inputs(3, 4, 4, 6)
    inputs[spoilt][1, 2, 1, 1] = value
    assert_blocks_agree(planes, inputs)
    out, _ = by_blocks(planes, inputs)
    assert out[[0, 2]].isfinite().all()
    assert not out[1].isfinite().all()


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_memory_order_changes_nothing(order: torch.memory_format) -> None:
    inputs = tuple(x.contiguous(memory_format=order) for x in make_inputs(2, 6, 5, 6))
    assert_blocks_agree(make_planes(), inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_what_is_gathered_has_the_memory_order_of_values(
    order: torch.memory_format, batch: int
) -> None:
    query, key, value = make_inputs(batch, 6, 5, 6)
    out, _ = by_blocks(make_planes(), (query, key, value.contiguous(memory_format=order)))
    assert out.is_contiguous(memory_format=order)


@pytest.mark.parametrize(("grid", "least"), [(32, 8), (16, 2), (8, 1)])
def test_other_threads_can_help_with_one_tile(
    grid: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def count(work: Callable[[Iterator[Any]], None], parts: Iterable[Any]) -> None:
        counts.append(len(waiting := list(parts)))
        work(iter(waiting))

    monkeypatch.setattr(row_blocks, "share_out", count)
    by_blocks(make_planes(), make_inputs(1, grid, grid, 6))
    assert min(counts) >= least


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_leaves_it_in_float32(dtype: torch.dtype) -> None:
    planes = make_planes(dtype=torch.float32)
    inputs: Inputs = tuple((3 * x).to(dtype) for x in make_inputs(2, 8, 8, 6))  # type: ignore[assignment]
    with torch.autocast("cpu", dtype):
        found, wanted = by_blocks(planes, inputs), plainly(planes, inputs)
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other, torch.float32)


def build_form(_: nn.Module, form: AttentionForm) -> nn.Module:
    return build_student(width=0.25, attention_form=form)


def change_in_place(network: nn.Module) -> None:
    for weight in network.parameters():
        weight.data.mul_(1.1)


def load_others(network: nn.Module) -> None:
    torch.manual_seed(1)
    network.load_state_dict(stirred(deepcopy(network)).state_dict())


def train_a_step(network: nn.Module) -> None:
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    network(torch.randn(2, 3, 256, 256)).logits.square().sum().backward()
    optimiser.step()
    network.eval()


@pytest.mark.parametrize("change", [change_in_place, load_others, train_a_step])
def test_weights_that_change_are_not_remembered(change: Callable[[nn.Module], None]) -> None:
    torch.manual_seed(0)
    network, tiles = stirred(build_student(width=0.5)), torch.randn(2, 3, 256, 256)
    before = run(network, tiles).logits
    change(network)
    found = run(network, tiles).logits
    set_attention_form(network, "plain")
    assert_same(found, run(network, tiles).logits, torch.float32)
    assert not torch.allclose(found, before, rtol=1e-3)


def test_a_norm_that_adapts_to_its_batch_is_asked_itself() -> None:
    """Though the rest of the network is in evaluation, as tests on other scanners have it."""
    found = []
    for form in ("auto", "plain"):
        planes, inputs = make_planes(), make_inputs(2, 4, 4, 3)
        planes.norm.train()
        planes.form = form  # type: ignore[assignment]
        with torch.no_grad():
            found.append((gather(planes, *inputs)[0], *planes.buffers()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("choose", [set_attention_form, build_form])
def test_a_form_that_there_is_not_is_refused(choose: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match=r"'auto', 'plain', 'triton'.*'rows'"):
        choose(AttentionPlanes(), "rows")


class Sizes(TorchDispatchMode):
    """Notes how many elements the largest tensor has that is made."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor):
                held = one.untyped_storage().nbytes() // one.itemsize
                self.largest = max(self.largest, held)
        return result


@pytest.mark.parametrize("threads", [1], indirect=True)  # a mode sees its own thread
@pytest.mark.parametrize("keep", [False, True])
def test_nothing_as_large_as_a_plane_is_made_but_the_matrix_asked_for(
    keep: bool, threads: int
) -> None:
    planes, inputs = make_planes(), make_inputs(1, 32, 32, 6)
    with torch.no_grad(), Sizes() as sizes:
        gather(planes, *inputs, keep)
    tokens = 32 * 32
    assert sizes.largest == tokens**2 if keep else sizes.largest < tokens**2 / 2


def traced(module: nn.Module, inputs: Inputs) -> str:
    return str(torch.jit.trace(module, inputs).inlined_graph)


def exported(module: nn.Module, inputs: Inputs) -> str:
    module = torch.export.export(module, inputs).graph_module
    return " ".join(str(part.graph) for part in module.modules())


@pytest.mark.parametrize(
    ("recorded", "training"), [(traced, False), (exported, False), (exported, True)]
)
def test_records_hold_whole_planes(
    recorded: Callable[[nn.Module, Inputs], str], training: bool
) -> None:
    """Which serve any batch and device; a loop over blocks would be unrolled for one."""

    class Gather(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.planes = make_planes()
            self.planes.recompute = training

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return gather(self.planes, *inputs)[0]

    with torch.set_grad_enabled(training):
        graph = recorded(Gather().train(training), make_inputs(2, 8, 8, 2))
    assert "conv" in graph
    assert "baddbmm" not in graph


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_gradients_are_those_of_whole_planes(training: bool, keep: bool) -> None:
    found = []
    for form in ("auto", "plain"):
        planes, inputs = make_planes().train(training), make_inputs(2, 4, 4, 3)
        planes.form = form  # type: ignore[assignment]
        for tensor in inputs:
            tensor.requires_grad_()
        out, attention = gather(planes, *inputs, keep)
        loss = out.square().sum() + (0 if attention is None else attention.pow(4).sum())
        loss.backward()
        found.append([x.grad for x in (*inputs, *planes.parameters())] + [*planes.buffers()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
