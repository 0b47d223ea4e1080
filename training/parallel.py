"""Work that runs ahead of its consumer, or side by side, with results in order."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

from dask.system import CPU_COUNT

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_THREADS = 8  # decoding and copying gain little beyond
_MOST_ON_WINDOWS = 61  # processes that Python can wait for there


def threads() -> ThreadPoolExecutor:
    """A pool as wide as what this process may use of the machine, and as pays."""
    return ThreadPoolExecutor(min(MOST_THREADS, CPU_COUNT))


def processes(
    count: int, prepare: Callable[..., object] | None = None, *given: Any
) -> ProcessPoolExecutor:
    """A pool of processes that end with this one, even where it is killed.

    They are spawned on every system: forking a process that holds threads of torch can hang.

    Parameters
    ----------
    count : int
        On Windows it is 61 at most.
    prepare : callable, optional
        Called in each process with `given` before its first work.
    """
    if sys.platform == "win32":
        count = min(count, _MOST_ON_WINDOWS)
    return ProcessPoolExecutor(count, get_context("spawn"), _begin, (prepare, given))


def _begin(prepare: Callable[..., object] | None, given: tuple[Any, ...]) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare(*given)


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`function` of each item, computed in threads; the first error is raised again here."""
    given = list(items)
    if len(given) == 1:
        return [function(given[0])]
    with threads() as pool:
        return list(pool.map(function, given))


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of each item in order, for one that frees the GIL, as decoding does."""
    return in_order(threads(), function, items, ahead=4 * MOST_THREADS)


def in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """`function` of each item in order, computed by a pool that runs ahead of the consumer.

    Nothing starts before the first result is asked for. The pool is shut down with the last
    result, with an error of `function`, which is raised here, or when the iterator is closed.

    Parameters
    ----------
    pool : Executor
        Belongs to this iterator from now on.
    ahead : int
        Most results beyond the one that is asked for; at least 1.
    """
    waiting: deque[Future[Result]] = deque()
    with pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while len(waiting) > 1:
                yield waiting.popleft().result()
            last = [future.result() for future in waiting]
        finally:
            for future in waiting:
                future.cancel()
    # After the pool: a consumer that counts its results never asks for one past the last.
    yield from last
