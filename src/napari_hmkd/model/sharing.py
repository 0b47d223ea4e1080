"""Work shared out among threads, each of which computes its parts alone.

torch shares out each operation by itself, and all threads meet at its end. Where operations are small,
and others want the cores, too, most of the time goes into waiting for each other.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier, Lock
from typing import TypeVar

import torch

Part = TypeVar("Part")

_making = Lock()
"""Of a pool, which for a moment changes what new threads begin with."""


def share_out(work: Callable[[Iterator[Part]], None], parts: Iterable[Part]) -> None:
    """Work off parts in as many threads as torch may use, without gradients.

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
    threads = torch.get_num_threads()
    count = min(threads, len(waiting))
    if count < 2:
        with torch.no_grad():
            work(_taken(waiting))
        return
    inference = torch.is_inference_mode_enabled()
    with _making:
        pool = _pool(threads)
    running = [pool.submit(_alone, work, waiting, inference) for _ in range(count)]
    errors = [one.exception() for one in running]
    for error in filter(None, errors):
        raise error


def _alone(work: Callable[[Iterator[Part]], None], waiting: deque[Part], inference: bool) -> None:
    with torch.inference_mode(inference), torch.no_grad():  # each thread has modes of its own
        work(_taken(waiting))


def _taken(waiting: deque[Part]) -> Iterator[Part]:
    """Take parts until none is left."""
    while True:
        try:
            part = waiting.popleft()
        except IndexError:
            return
        yield part


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """So many threads, in which torch does not start others."""
    pool = ThreadPoolExecutor(threads, "share", _stay_alone)
    started = Barrier(threads + 1)
    for _ in range(threads):
        pool.submit(started.wait)
    started.wait()
    # The number is each thread's own, but new threads begin with the one that was set last.
    torch.set_num_threads(threads)
    return pool


def _stay_alone() -> None:
    torch.get_num_threads()  # else a thread's first operation sets what torch begins with
    torch.set_num_threads(1)


def _begin_anew() -> None:
    """In the child of a fork: threads do not survive it, and a lock may be held by one of them."""
    global _making
    _making = Lock()
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
