"""A network on a CPU while other programs want its cores: threads with tiles of their own, and torch's.

torch shares out each operation, and OpenMP's threads wait for each other at its end by spinning: where
one of them has lost its core, the others wait for it hundreds of times a tile. As many processes as
there are cores do nothing but count.

    HMKD_BENCHMARK=full pytest -s tests/benchmarks/test_busy_machine.py

takes the published size; the suite's form is smaller, as are its tiles: each timing takes many, for one
is done within the time that the system leaves a process its core.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest
import torch
from dask.system import CPU_COUNT
from tests.benchmarks.timing import FULL, Seconds, interleaved, print_table, time_ratio

from napari_hmkd.model import build_student
from napari_hmkd.model.sharing import answer_in_parts

WIDTH, TILE_PX = (1.0, 1024) if FULL else (0.25, 256)
BATCHES = (1, 8) if FULL else (1,)
ROUNDS, REPEATS = (7, 1) if FULL else (5, 6)


@pytest.fixture
def busy_cores() -> Iterator[None]:
    counting = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(CPU_COUNT)
    ]
    yield
    for one in counting:
        one.kill()
        one.wait()


def timed(job: Callable[[], object], _round: int) -> float:
    started = time.perf_counter()
    for _repeat in range(REPEATS):
        job()
    return (time.perf_counter() - started) / REPEATS


def measure(batch: int) -> Seconds:
    """Seconds of both ways, in whatever process this is called."""
    torch.set_num_threads(CPU_COUNT)
    student = build_student(width=WIDTH).eval()
    tiles = torch.randn(batch, TILE_PX, TILE_PX, 3).permute(0, 3, 1, 2)
    ways = {"threads": partial(answer_in_parts, student, tiles), "torch": partial(student, tiles)}
    with torch.inference_mode():
        for job in ways.values():
            job()
        return interleaved({name: partial(timed, job) for name, job in ways.items()}, ROUNDS)


@pytest.mark.skipif(CPU_COUNT < 2, reason="needs two cores, between which work can be shared out")
@pytest.mark.usefixtures("busy_cores")
@pytest.mark.parametrize("batch", BATCHES)
def test_threads_with_tiles_of_their_own_are_faster_where_cores_are_busy(batch: int) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found = pool.submit(measure, batch).result()
    print_table(
        f"student of width {WIDTH:g}, {batch} tiles of {TILE_PX} px, {CPU_COUNT} cores that are busy",
        ["shared out by", "a tile", "over torch"],
        [
            [
                name,
                f"{1e3 * sorted(seconds)[len(seconds) // 2] / batch:.0f} ms",
                str(time_ratio(seconds, found["torch"])),
            ]
            for name, seconds in found.items()
        ],
    )
    assert time_ratio(found["threads"], found["torch"]).low <= 1
