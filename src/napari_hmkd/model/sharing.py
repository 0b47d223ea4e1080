"""Work shared out among threads, each of which computes its parts alone.

torch shares out each operation by itself, and all threads meet at its end. Where operations are small,
most of the time goes into waiting for each other, and where others want the cores, too, far more.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from threading import Barrier, Lock, local
from typing import Any, TypeVar

import torch

from napari_hmkd.model.recording import is_recorded

Part = TypeVar("Part")
Result = TypeVar("Result")

_making = Lock()
"""Of a pool, which for a moment changes what new threads begin with."""


class _Here(local):
    """What a thread knows of itself."""

    pool: ThreadPoolExecutor | None = None
    threads = 1
    """Of the pool that this one belongs to."""
    spare = False
    """Whether the work that is under way leaves some of them without any of its own."""


_here = _Here()


def share_out(work: Callable[[Iterator[Part]], None], parts: Iterable[Part]) -> None:
    """Work off parts in as many threads as torch may use, without gradients.

    Within a part of other work, those threads help that have nothing to do, or come to be so.

    Parameters
    ----------
    work : callable
        Is called in each thread, and takes the next part whenever it is done with one. What it writes
        must be its part's alone.
    parts : iterable
        In any order; a single one is computed by the caller, with all of torch's threads.

    Raises
    ------
    Exception
        What `work` raised, after all threads have ended.
    """
    waiting = deque(parts)
    job = partial(_work_off, work, waiting)
    if _here.pool is not None:
        _with_help(job, _here.pool, min(_here.threads, len(waiting)) - 1)
        return
    count = min(torch.get_num_threads(), len(waiting))
    if count < 2:
        job()
    else:
        _results(_submit(_pool_of_torch(), [job] * count))


def beside(*jobs: Callable[[], Any]) -> list[Any]:
    """Do what needs nothing of each other, with the help of threads that have nothing to do.

    Where `has_helpers` says no, the caller does one job after the other.

    Parameters
    ----------
    *jobs : callable
        The caller takes them in this order: one that shares out work of its own goes first.

    Returns
    -------
    list
        What they return, in their order.

    Raises
    ------
    Exception
        What a job raised, after all threads have ended.
    """
    if not has_helpers():
        return [job() for job in jobs]
    found: dict[int, Any] = {}

    def work(parts: Iterator[int]) -> None:
        for part in parts:
            found[part] = jobs[part]()

    share_out(work, range(len(jobs)))
    return [found[part] for part in range(len(jobs))]


def has_helpers() -> bool:
    """Whether a network answers here, on a CPU, with fewer parts of its batch than there are threads.

    There are none with gradients, or where what a network does is recorded.
    """
    return _here.spare and not torch.is_grad_enabled() and not is_recorded()


def answer_in_parts(forward: Callable[..., Result], *batches: torch.Tensor) -> list[Result]:
    """A network's answers to a batch: on a CPU a part of it for each thread, elsewhere all at once.

    Parameters
    ----------
    forward : callable
        Runs the network on parts (b, ...), for evaluation, in the caller's modes of torch. Where threads
        have no part, they help with those of others (`share_out`, `beside`).
    *batches : torch.Tensor
        Its inputs, (B, ...), B at least 1, on one device.

    Returns
    -------
    list
        The answers to parts of the batch in their order.

    Raises
    ------
    Exception
        What `forward` raised, after all threads have ended.
    """
    threads = torch.get_num_threads()
    if batches[0].device.type != "cpu" or threads < 2:
        return [forward(*batches)]
    parts = list(zip(*(one.chunk(threads) for one in batches), strict=True))
    jobs = [partial(forward, *part) for part in parts]
    return _results(_submit(_pool_of_torch(), jobs, spare=len(jobs) < threads))


def _work_off(work: Callable[[Iterator[Part]], None], waiting: deque[Part]) -> None:
    try:
        with torch.no_grad():
            work(_taken(waiting))
    except BaseException:
        waiting.clear()  # the others end with the part that they are at
        raise


def _taken(waiting: deque[Part]) -> Iterator[Part]:
    """Take parts until none is left."""
    while True:
        try:
            part = waiting.popleft()
        except IndexError:
            return
        yield part


def _with_help(job: Callable[[], None], pool: ThreadPoolExecutor, most: int) -> None:
    """Do a job that others of the pool may join; nobody waits for one that has not begun."""
    offered = [job]
    helping = _submit(pool, [partial(_help, offered)] * most)
    try:
        job()
    finally:
        offered.clear()  # what is cancelled stays in the pool's queue for a while, and holds no tensor
        _results([one for one in helping if not one.cancel()])


def _help(offered: list[Callable[[], None]]) -> None:
    for job in tuple(offered):
        job()


def _submit(
    pool: ThreadPoolExecutor, jobs: Iterable[Callable[[], Result]], spare: bool | None = None
) -> list[Future[Result]]:
    """Each thread has modes of its own, and is to have the caller's."""
    modes = _Modes.here(_here.spare if spare is None else spare)
    return [pool.submit(modes.run, one) for one in jobs]


@dataclass(frozen=True, slots=True)
class _Modes:
    """How torch computes in a thread, and whether others have nothing to do."""

    inference: bool
    gradients: bool
    narrow: torch.dtype | None
    """What autocast on a CPU computes in, where it does."""
    spare: bool

    @classmethod
    def here(cls, spare: bool) -> _Modes:
        narrow = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        return cls(torch.is_inference_mode_enabled(), torch.is_grad_enabled(), narrow, spare)

    def run(self, job: Callable[[], Result]) -> Result:
        cast = nullcontext() if self.narrow is None else torch.autocast("cpu", self.narrow)
        _here.spare = self.spare
        with torch.inference_mode(self.inference), torch.set_grad_enabled(self.gradients), cast:
            return job()


def _results(running: Iterable[Future[Result]]) -> list[Result]:
    """What all have found, once all have ended."""
    running = list(running)
    error = next(filter(None, [one.exception() for one in running]), None)
    try:
        if error is not None:
            raise error
        return [one.result() for one in running]
    finally:
        # An error knows this frame. Were it known here, its tensors would stay until the next collection.
        running, error = [], None


def _pool_of_torch() -> ThreadPoolExecutor:
    with _making:
        return _pool(torch.get_num_threads())


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """So many threads, in which torch does not start others."""
    pool = ThreadPoolExecutor(threads, "share")
    started = Barrier(threads + 1)
    try:
        for _ in range(threads):
            pool.submit(_begin, pool, threads, started)
        started.wait()
    except BaseException:
        started.abort()  # the system gives no further thread: those that there are would wait for it
        pool.shutdown(wait=False)
        raise
    finally:
        # The number is each thread's own, but new threads begin with the one that was set last.
        torch.set_num_threads(threads)
    return pool


def _begin(pool: ThreadPoolExecutor, threads: int, started: Barrier) -> None:
    _here.pool, _here.threads = pool, threads
    torch.get_num_threads()  # else a thread's first operation sets what torch begins with
    torch.set_num_threads(1)
    started.wait()


def _begin_anew() -> None:
    """In the child of a fork: threads do not survive it, and a lock may be held by one of them."""
    global _making
    _making = Lock()
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
