"""Work shared out among threads, each of which computes its parts alone.

torch shares out each operation by itself, and all threads meet at its end. Where operations are small,
most of the time goes into waiting for each other, and where others want the cores, too, far more.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from threading import Barrier, Lock, local
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")

_making = Lock()
"""Of a pool, which for a moment changes what new threads begin with."""


class _Here(local):
    """What a thread knows of itself."""

    pool: ThreadPoolExecutor | None = None
    threads = 1
    """Of the pool that this one belongs to."""


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


def answer_in_parts(forward: Callable[..., Result], *batches: torch.Tensor) -> list[Result]:
    """A network's answers to a batch: on a CPU a part of it for each thread, elsewhere all at once.

    Parameters
    ----------
    forward : callable
        Runs the network on parts (b, ...), for evaluation; autocast, which each thread has for itself,
        is its own matter.
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
    parts = zip(*(one.chunk(threads) for one in batches), strict=True)
    return _results(_submit(_pool_of_torch(), [partial(forward, *part) for part in parts]))


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


def _submit(pool: ThreadPoolExecutor, jobs: Iterable[Callable[[], Result]]) -> list[Future[Result]]:
    """Each thread has modes of its own, and is to have the caller's."""
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    return [pool.submit(_in_mode, one, inference, gradients) for one in jobs]


def _in_mode(job: Callable[[], Result], inference: bool, gradients: bool) -> Result:
    with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
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
    _here.pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
