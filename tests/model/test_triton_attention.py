"""Triton's kernels give the numbers of the formula's whole planes.

Triton's interpreter runs them here, which takes 60 ms for each tile of scores, so that tiles are large
and few. It has no bfloat16 of its own: the kernels then multiply the same numbers as float32, and what
is rounded to bfloat16 is cut off, where a GPU rounds to the nearest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.test_fast_attention import (
    Inputs,
    Sizes,
    all_tensors,
    make_inputs,
    make_planes,
    plainly,
    run,
    stirred,
)

from napari_hmkd import model
from napari_hmkd.errors import DeviceError
from napari_hmkd.model import build_student, build_teacher, triton_attention
from napari_hmkd.model.gather import gather, set_attention_form
from napari_hmkd.model.planes import MAPS, SCORE_LIMIT, AttentionForm, AttentionPlanes

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton (for Linux)")

CLOSE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 2e-2}
"""Largest error of A v, relative to the largest value: its sums are of terms rounded by 2^-24, 2^-11
(float16) and 2^-8 (bfloat16, cut off), of either sign, so that they are larger than the result."""
DTYPES = sorted(CLOSE, key=str)
EPS = {torch.float32: 2**-23, torch.float16: 2**-10, torch.bfloat16: 2**-7}
CPU = torch.device("cpu")
Blocks = tuple[int, int, int]
LARGE: Blocks = (64, 64, 32)
"""Rows, columns, and channels of a step."""


@pytest.fixture(scope="module")
def interpreter() -> Iterator[ProcessPoolExecutor]:
    """A process in which Triton interprets, which is decided when triton is loaded."""
    if find_spec("triton") is None:
        pytest.skip("needs triton (for Linux)")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            pool.submit(torch.get_num_threads).result()
        yield pool


def by_triton(planes: AttentionPlanes, inputs: Inputs, blocks: Blocks = LARGE) -> torch.Tensor:
    """A v as `gather` has it in the form "triton", with blocks of such sides."""
    planes.form = "triton"
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        for name, size in zip(("ROWS", "COLUMNS", "STEP"), blocks, strict=True):
            patch.setattr(triton_attention, name, size)
        out, none = gather(planes, *inputs)
        assert none is None
        return out


def largest_made(planes: AttentionPlanes, inputs: Inputs) -> int:
    """Elements of the largest tensor that `by_triton` makes, and bytes of those that are interpreted."""
    with Sizes() as sizes:
        by_triton(planes, inputs, (256, 256, 16))
    return sizes.largest


def rounded(inputs: Inputs, dtype: torch.dtype) -> tuple[Inputs, Inputs]:
    """Inputs of a dtype, and the same numbers as float64."""
    short = tuple(x.to(dtype) for x in inputs)
    return short, tuple(x.double() for x in short)  # type: ignore[return-value]


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest, relative to the largest value."""
    assert found.dtype == torch.float32
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


# The dtype decides how numbers are multiplied, the grid how blocks lie; where channels are several blocks they meet.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "batch", "channels", "query_maps", "blocks", "dtype"),
    [
        *(((8, 8), 1, 6, MAPS, LARGE, dtype) for dtype in DTYPES),
        ((8, 9), 1, 24, 1, (64, 32, 16), torch.float32),
        ((9, 8), 1, 6, MAPS, (32, 64, 32), torch.float32),
        *(((8, 9), 1, 48, MAPS, LARGE, dtype) for dtype in (torch.float32, torch.float16)),
        ((4, 5), 3, 6, 1, (16, 16, 16), torch.float32),
    ],
    ids=str,
)
def test_kernels_agree(
    interpreter: ProcessPoolExecutor, grid: tuple[int, int], batch: int, channels: int,
    query_maps: int, blocks: Blocks, dtype: torch.dtype,
) -> None:  # fmt: skip
    inputs, exact = rounded(make_inputs(batch, *grid, channels, query_maps), dtype)
    planes = make_planes(dtype=torch.float32)
    out = interpreter.submit(by_triton, planes, inputs, blocks).result()
    found = error(out, plainly(planes.double(), exact)[0])
    print(f"{dtype}, N = {grid[0] * grid[1]}, C = {channels}: {found:.1e}")
    assert found <= CLOSE[dtype]


@pytest.mark.parametrize("form", ["triton", "auto"])
def test_the_matrix_that_is_asked_for_is_that_of_whole_planes(form: AttentionForm) -> None:
    planes, (inputs, _) = make_planes(dtype=torch.float32), rounded(make_inputs(1, 4, 5, 6), torch.float32)  # fmt: skip
    planes.form = form
    with torch.no_grad():
        out, attention = gather(planes, *inputs, True)
    wanted = plainly(planes.double(), tuple(x.double() for x in inputs))
    assert error(out, wanted[0]) <= CLOSE[torch.float32]
    assert error(attention, wanted[1]) <= CLOSE[torch.float32]


@pytest.mark.parametrize(
    ("size", "least", "most", "dtype"),
    [
        (0, 0, 2, torch.float32),
        (30, 80, 1e3, torch.float32),
        *((1e3, 1e3, SCORE_LIMIT, dtype) for dtype in DTYPES),
        *((2e4, SCORE_LIMIT, 1e9, dtype) for dtype in DTYPES),
    ],
    ids=str,
)
def test_outsize_scores_agree(
    interpreter: ProcessPoolExecutor, size: float, least: float, most: float, dtype: torch.dtype
) -> None:
    query, key, value = make_inputs(1, 8, 8, 6)
    inputs, exact = rounded((size * query, key, value), dtype)
    planes = make_planes(dtype=torch.float32)
    found = interpreter.submit(by_triton, planes, inputs).result()
    wanted, _ = plainly(planes.double(), exact)
    with torch.no_grad():
        largest = planes.norm(planes._mixed(*exact[:2])).abs().max()
    assert least <= largest <= most
    # What folded keys are rounded by is a relative error of the scores' exponentials.
    assert error(found, wanted) <= CLOSE[dtype] + EPS[dtype] * largest


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constant_tokens_agree(interpreter: ProcessPoolExecutor, dtype: torch.dtype) -> None:
    constant = tuple(torch.full_like(x, 0.3) for x in make_inputs(1, 8, 8, 6))
    inputs, exact = rounded(constant, dtype)  # type: ignore[arg-type]
    planes = make_planes(dtype=torch.float32)
    out = interpreter.submit(by_triton, planes, inputs).result()
    assert error(out, plainly(planes.double(), exact)[0]) <= CLOSE[dtype]


@pytest.mark.parametrize("spoilt", range(3), ids=["query", "key", "value"])
def test_what_is_no_number_is_shown_where_whole_planes_show_it(
    interpreter: ProcessPoolExecutor, spoilt: int
) -> None:
    planes, (inputs, _) = make_planes(dtype=torch.float32), rounded(make_inputs(2, 4, 4, 6), torch.float32)  # fmt: skip
    inputs[spoilt][1, 2, 1, 1] = torch.nan
    found = interpreter.submit(by_triton, planes, inputs).result()
    assert torch.equal(found.isnan(), plainly(planes, inputs)[0].isnan())
    assert found[1].isnan().any()
    assert found[0].isfinite().all()


@pytest.mark.slow
def test_nothing_as_large_as_a_plane_is_made(interpreter: ProcessPoolExecutor) -> None:
    made = interpreter.submit(
        largest_made, make_planes(dtype=torch.float32), rounded(make_inputs(1, 32, 32, 6), torch.float32)[0]
    ).result()  # fmt: skip
    assert made < 4 * 1024**2 / 2


def student_answers(form: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Of a small student in that form, computing in a dtype where autocast has it."""
    torch.manual_seed(0)
    student = stirred(build_student(width=0.25))
    set_attention_form(student, form)  # type: ignore[arg-type]
    tiles = torch.randn(1, 3, 256, 256)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        return all_tensors(run(student, tiles))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_student_answers_as_with_whole_planes(
    interpreter: ProcessPoolExecutor, dtype: torch.dtype
) -> None:
    found = interpreter.submit(student_answers, "triton", dtype).result()
    for one, other in zip(found, student_answers("plain", dtype), strict=True):
        assert error(one.float(), other) <= (1e-5 if dtype == torch.float32 else 2e-3)


@needs_triton
@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("grid", "batch", "channels", "query_maps"),
    [((32, 32), 2, 24, MAPS), ((32, 32), 1, 48, 1), ((9, 8), 2, 112, MAPS), ((4, 4), 3, 224, 1)],
)
def test_kernels_agree_on_a_gpu(
    grid: tuple[int, int], batch: int, channels: int, query_maps: int, dtype: torch.dtype
) -> None:
    inputs, exact = rounded(make_inputs(batch, *grid, channels, query_maps), dtype)
    planes = make_planes(dtype=torch.float32).cuda()
    planes.form = "triton"
    with torch.no_grad():
        out, _ = gather(planes, *(x.cuda() for x in inputs))
    assert error(out.cpu(), plainly(planes.double().cpu(), exact)[0]) <= CLOSE[dtype]


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize(("dtype", "capability"), [("bf16", 90), ("fp16", 80), ("fp32", 80)])
@pytest.mark.parametrize("name", ["gather_rows", "fold"])
def test_kernels_compile_for_gpus(
    name: str, dtype: str, capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes none; the interpreter also runs what does not compile."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(triton_attention.load_kernels(), name)
    sizes = {"DEPTH": 288, "CHANNELS": 64, "WIDEN": False}
    sizes |= {side: getattr(triton_attention, side) for side in ("ROWS", "COLUMNS", "STEP")}
    if name == "fold":
        sizes = {"OUT_STRIDE": 36, "SUMMED": MAPS, "FORWARD": True, "TOKENS": 64, "CHANNELS": 32}
    kinds = dict.fromkeys(kernel.arg_names, "i32") | dict.fromkeys(sizes, "constexpr")
    kinds |= dict.fromkeys(("scale", "eps"), "fp32")
    pointers = ("norm_weight", "norm_bias", "norm_mean", "norm_variance", "gathered", "weight")
    kinds |= dict.fromkeys(pointers, "*fp32")
    kinds |= dict.fromkeys(("query", "key", "value", "x", "folded"), f"*{dtype}")
    source = ASTSource(kernel, {x: kinds[x] for x in kernel.arg_names}, sizes)
    options = {"num_warps": triton_attention.WARPS}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    # Bytes that any GPU of such capability has for a program.
    assert made.metadata.shared <= 96 * 1024


@pytest.mark.parametrize("why", ["training", "gradients", "float64"])
def test_whole_planes_are_computed_where_the_kernels_have_no_say(why: str) -> None:
    planes = make_planes(dtype=torch.float64 if why == "float64" else torch.float32)
    planes.train(why == "training").form = "triton"
    inputs = tuple(x.to(planes.mix.weight.dtype) for x in make_inputs(1, 4, 4, 6))
    with torch.set_grad_enabled(why == "gradients"):
        out, _ = gather(planes, *inputs)
    wanted, _ = plainly(planes, inputs)  # type: ignore[arg-type]
    torch.testing.assert_close(out, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernels_are_used_where_they_give_the_right_numbers(
    interpreter: ProcessPoolExecutor, dtype: torch.dtype
) -> None:
    assert interpreter.submit(triton_attention.gives_their_numbers, CPU, dtype).result()
    assert not triton_attention.runs_kernels(CPU, dtype)


@pytest.mark.parametrize(
    ("kernels", "why"),
    [
        (lambda *maps: torch.zeros(1, 16, 4, 4), "they are 1 off"),
        (lambda *maps: torch.full((1, 16, 4, 4), torch.nan), "they are nan off"),
        (None, "do not run"),
    ],
)
def test_kernels_are_not_used_where_they_do_not(
    kernels: Callable[..., torch.Tensor] | None, why: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    if kernels is None and find_spec("triton") is None:
        pytest.skip("needs triton (for Linux)")
    if kernels is not None:
        monkeypatch.setattr(triton_attention, "attend_by_triton", kernels)
    drawn = torch.random.get_rng_state()
    assert not triton_attention.gives_their_numbers(CPU, torch.float32)
    assert why in caplog.text
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_a_full_gpu_says_nothing_of_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def attend(*maps: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(triton_attention, "attend_by_triton", attend)
    with pytest.raises(torch.OutOfMemoryError):
        triton_attention.gives_their_numbers(CPU, torch.float32)


@needs_triton
def test_tensors_that_no_gpu_holds_are_refused() -> None:
    planes, inputs = make_planes(dtype=torch.float32), make_inputs(1, 4, 4, 6)
    with pytest.raises(
        DeviceError, match=r'form "triton" on cpu.*move.* or choose the form "auto"'
    ):
        by_triton(planes, rounded(inputs, torch.float32)[0])


@pytest.mark.parametrize("build", [build_student, build_teacher])
def test_the_form_is_refused_where_triton_is_missing(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "napari_hmkd.model.triton_kernels", raising=False)
    monkeypatch.delattr(model, "triton_kernels", raising=False)
    with pytest.raises(DeviceError, match='form "triton", but triton is not installed'):
        build(width=0.25, attention_form="triton")
