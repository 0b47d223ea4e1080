"""Pieces of work in processes of their own, each with its words in a file, until time is up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

import torch
from dask.system import CPU_COUNT
from threadpoolctl import threadpool_limits

from napari_hmkd.memory import keep_freed_memory
from napari_hmkd.sample.cohort import Placing, Records, placed_tiles, remember_placed
from napari_hmkd.training.console import say
from napari_hmkd.training.parallel import processes

Piece = TypeVar("Piece")


def threads_each(jobs: int) -> int:
    """The share of the CPU of each of so many processes at once."""
    return max(1, CPU_COUNT // jobs)


def deadline_of(stop_at: float) -> float:
    """`time.monotonic()` in this process when `time.time()`, which all processes share, is `stop_at`."""
    return time.monotonic() + stop_at - time.time()


@contextlib.contextmanager
def own_words(log: Path, threads: int) -> Iterator[None]:
    """What a piece says goes to the end of its log; it computes with its share of the CPU."""
    torch.set_num_threads(threads)
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stderr(file),
        threadpool_limits(threads),
    ):
        yield


def piece_processes(jobs: int) -> ProcessPoolExecutor:
    """So many processes for `run_pieces`, which serve one stage after the other.

    They know the cohorts that this one knows, so that they need not place their tiles anew. Each loads
    torch, and has a GPU load and plan what its networks take, for its first piece.
    """
    return processes(jobs, _prepare, placed_tiles())


def run_pieces(
    pieces: Sequence[Piece],
    work: Callable[[Piece], bool],
    pool: Executor,
    outcome: Callable[[Piece], str],
) -> bool:
    """Work on all pieces; False where time was up before the last.

    Parameters
    ----------
    pieces : sequence
        What can be sent to a process.
    work : callable
        Finishes a piece, or returns False where it had no time to.
    pool : Executor
        Of `piece_processes`. After an error it ends what it was handed out: a piece for each process and
        one or two more.
    outcome : callable
        What to say of a finished piece.
    """
    done = 0
    running = {pool.submit(work, piece): piece for piece in pieces}
    try:
        for future in as_completed(running):
            if future.result():
                done += 1
                say(f"{done}/{len(pieces)}  {outcome(running[future])}")
    except Exception as error:
        say(f"a piece failed; what was handed out ends first: {error}")
        raise
    finally:
        for future in running:
            future.cancel()
    if done < len(pieces):
        say(f"time is up with {len(pieces) - done} left in this stage: the same command goes on")
    return done == len(pieces)


def _prepare(placed: Mapping[Placing, Records]) -> None:
    keep_freed_memory()
    remember_placed(placed)
