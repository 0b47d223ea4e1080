"""Grading tiles with attention by blocks of rows, beside the formula's whole planes.

Both are the student with the same weights on the same tiles. Ours computes attention by blocks of rows,
in threads that compute tiles of their own (`answer_in_parts`), as grading does; the other runs as torch does
by itself. They are measured in a process of their own, with memory as the system has it, where each plane is fresh memory,
and in one with memory that is kept (`keep_freed_memory`), as in our command lines. The floor is what the
arithmetic of a form would take at the rate of a large matrix product in the same process.

The suite runs a small form in one thread, as threads of a busy machine wait for each other, and with a
bound that leaves room. On a machine that does nothing else

    HMKD_BENCHMARK=full OMP_NUM_THREADS=2 pytest -s tests/benchmarks/test_attention_speed.py

holds the published size to 0.4 of the time for one tile, and to no more for a tile of a batch.

Where there is a GPU, Triton's kernels are measured beside whole planes there, under autocast: called one
by one, and recorded and replayed (`Replay`), as grading does. The full form holds the latter to a third of
the time of whole planes, and kernels to a fifth of their memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from tests.benchmarks.timing import FULL, MB, TOLERANCE, interleaved, print_table, time_ratio
from torch.utils.flop_counter import FlopCounterMode

from napari_hmkd.device import mixed_precision
from napari_hmkd.memory import keep_freed_memory
from napari_hmkd.model import build_student
from napari_hmkd.model.replay import Replay
from napari_hmkd.model.sharing import answer_in_parts
from napari_hmkd.model.student import Student

WIDTH = 1.0 if FULL else 0.5
TILE_PX = 1024
BATCHES = (1, 2, 8) if FULL else (1,)
MEMORY = {"fresh": None, "kept": keep_freed_memory} if FULL else {"fresh": None}
GPU_BATCHES = (1, 8, 32, 64) if FULL else (1,)
MOST = 1 / 2.5 if FULL else 1 / 1.5
MOST_ON_GPU = 1 / 3 if FULL else TOLERANCE
THREADS = torch.get_num_threads() if FULL else 1
PRODUCT_SIDE = 1024


@dataclass(frozen=True)
class Measured:
    """A form on a batch: seconds of each round and of the floor, all of them per tile."""

    seconds: np.ndarray
    floor_s: float


def measure() -> dict[tuple[str, int], Measured]:
    """Both forms on all batches, interleaved; in whatever process this is called."""
    torch.set_num_threads(THREADS)
    tiles = torch.randn(max(BATCHES), TILE_PX, TILE_PX, 3).permute(
        0, 3, 1, 2
    )  # as slides have them
    ways = {"auto": partial(answer_in_parts, make_student("auto")), "plain": make_student("plain")}
    jobs = {
        (form, batch): partial(way, tiles[:batch])
        for batch in BATCHES
        for form, way in ways.items()
    }
    with torch.inference_mode():
        floors_s = {name: products(job) / product_rate() for name, job in jobs.items()}
        seconds = interleaved({name: partial(timed, job) for name, job in jobs.items()})
    return {name: Measured(seconds[name] / name[1], floors_s[name] / name[1]) for name in jobs}


def make_student(form: str) -> Student:
    torch.manual_seed(0)
    return build_student(width=WIDTH, attention_form=form).eval()


def timed(job: Callable[[], object], _round: int = 0) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def product_rate() -> float:
    """Multiplications with addition per second of a large matrix product."""
    matrix = torch.randn(PRODUCT_SIDE, PRODUCT_SIDE)
    return PRODUCT_SIDE**3 / min(timed(lambda: matrix @ matrix) for _ in range(20))


def products(job: Callable[[], object]) -> float:
    """Multiplications with addition that a job takes."""
    torch.set_num_threads(1)  # the counter sees what its own thread does
    with FlopCounterMode(display=False) as counter:
        job()
    torch.set_num_threads(THREADS)
    return counter.get_total_flops() / 2


def line(form: str, batch: int, found: Measured, plain: Measured) -> list[str]:
    """A form's line of the table, times per tile."""
    low, middle, high = 1e3 * np.quantile(found.seconds, (0.25, 0.5, 0.75))
    return [
        {"auto": "blocks of rows", "plain": "whole planes"}[form],
        str(batch),
        f"{middle:.0f} ms ({low:.0f} to {high:.0f})",
        f"{1e3 * found.floor_s:.0f} ms",
        str(time_ratio(found.seconds, plain.seconds)),
    ]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("memory", MEMORY)
def test_blocks_of_rows_are_faster_than_whole_planes(memory: str) -> None:
    with ProcessPoolExecutor(1, get_context("spawn"), MEMORY[memory]) as pool:
        found = pool.submit(measure).result()
    print_table(
        f"student of width {WIDTH:g}, tiles of {TILE_PX} px, {memory} memory, CPU, "
        f"{THREADS} threads",
        ["attention by", "batch", "a tile (quartiles)", "floor", "over whole planes"],
        [line(*name, one, found["plain", name[1]]) for name, one in found.items()],
    )
    alone = found["auto", 1]
    if memory == "fresh":
        assert time_ratio(alone.seconds, found["plain", 1].seconds).low <= MOST
    for batch in BATCHES:
        assert time_ratio(found["auto", batch].seconds, alone.seconds).low <= TOLERANCE


@dataclass(frozen=True)
class MeasuredOnGpu:
    """A way with a batch: seconds per tile of each round, and the most memory it takes above the weights'.

    A recording keeps as much as its kernels take, out of what torch counts.
    """

    seconds: np.ndarray
    peak_mb: float | None


def measure_on_gpu(batch: int) -> dict[str, MeasuredOnGpu]:
    """All ways with a batch, interleaved, after a round in which kernels are compiled."""
    tiles = torch.randn(batch, 3, TILE_PX, TILE_PX, device="cuda")
    plain, fast = (make_student(form).cuda() for form in ("plain", "auto"))
    ways = {
        "whole planes": plain,
        "kernels": fast,
        "kernels, replayed": Replay(lambda tiles: (fast(tiles).logits,)),
    }

    def seconds(way: Callable[[torch.Tensor], object], _round: int = 0) -> float:
        torch.cuda.synchronize()
        return timed(lambda: (way(tiles), torch.cuda.synchronize()))

    peaks_mb: dict[str, float | None] = {"kernels, replayed": None}
    with torch.inference_mode(), mixed_precision(torch.device("cuda"), "bfloat16"):
        for name, way in ways.items():
            for _ in range(3):
                way(tiles)
            if name in peaks_mb:
                continue
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            way(tiles)
            peaks_mb[name] = (torch.cuda.max_memory_allocated() - before) / MB
        found = interleaved({name: partial(seconds, way) for name, way in ways.items()})
    return {name: MeasuredOnGpu(found[name] / batch, peaks_mb[name]) for name in ways}


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("batch", GPU_BATCHES)
def test_kernels_are_faster_than_whole_planes_on_a_gpu(batch: int) -> None:
    found = measure_on_gpu(batch)
    plain, replayed = found["whole planes"], found["kernels, replayed"]
    print_table(
        f"student of width {WIDTH:g}, {batch} tiles of {TILE_PX} px, bfloat16, "
        f"{torch.cuda.get_device_name()}",
        ["attention by", "tiles/s", "peak, MB", "time over whole planes"],
        [
            [
                name,
                f"{1 / np.median(one.seconds):.0f}",
                "" if one.peak_mb is None else f"{one.peak_mb:.0f}",
                str(time_ratio(one.seconds, plain.seconds)),
            ]
            for name, one in found.items()
        ],
    )
    assert time_ratio(replayed.seconds, plain.seconds).low <= MOST_ON_GPU
    assert found["kernels"].peak_mb <= plain.peak_mb / 5
