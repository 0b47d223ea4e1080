"""Threads that read, and that nobody has to wait for: a stalled network drive hangs no window."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from dask.system import CPU_COUNT

from napari_hmkd.errors import SlideReadError, SlideStalledError

Part = TypeVar("Part")
Result = TypeVar("Result")

READING_LIMIT_S = 30.0
"""How long is waited for a part of a slide; a tile from a slow disk takes less than one second."""

_URGENT, _USUAL = range(2)
_LOOK_UP_S = 1.0  # how often a thread that waits for work looks whether it may end
_Job = tuple[int, int, Future[Any], Callable[[], Any]]


class _NoThreadError(SlideReadError):
    """The system has no more threads."""


class ReaderThreads:
    """A few threads that read; unlike those of `concurrent.futures`, a stuck one ends with Python.

    Parameters
    ----------
    what : str
        What messages say is read.
    count : int, optional
        Most threads; default: one per core that this process may use, at most eight. They are
        started when they are needed.

    Attributes
    ----------
    count : int
        As given.
    """

    def __init__(self, what: str, count: int | None = None) -> None:
        self._what = what
        self.count = count or min(8, CPU_COUNT)
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._threads = self._unfinished = self._sharing = 0
        self._closed = False
        self._stuck: Future[Any] | None = None

    def call(self, function: Callable[[], Result], seconds: float, urgent: bool = False) -> Result:
        """What `function` gives, in time.

        Never from inside a function that these threads run: all of them could wait for each other.

        Parameters
        ----------
        function : callable
            What to do.
        seconds : float
            How long to wait for it.
        urgent : bool
            Before all that is not; and while an urgent one that took too long is still under way, the
            next ones are not waited for.

        Raises
        ------
        SlideStalledError
            The time is up. The function may still be done, and nobody hears of it.
        SlideReadError
            The threads were closed.
        Exception
            Whatever the function raised.
        """
        if urgent and self._stuck is not None and not self._stuck.done():
            raise self._stalled(seconds)
        future = self._submit(function, _URGENT if urgent else _USUAL)
        try:
            return self._wait(future, seconds)
        except SlideStalledError:
            if urgent:
                self._stuck = future
            raise

    def in_order(
        self, functions: Iterable[Callable[[], Result]], ahead: int, seconds: float
    ) -> Generator[Result, None, None]:
        """What each function gives, in their order.

        Parameters
        ----------
        functions : iterable of callable
            What to do; not more than `ahead` and one for each thread are begun or done before they are
            asked for. Closing the generator drops those that wait.
        ahead : int
            See there.
        seconds : float
            How long to wait for each.

        Raises
        ------
        SlideStalledError
            The time is up for one of them.
        SlideReadError
            The threads were closed.
        Exception
            Whatever one of them raised.
        """
        pending: deque[Future[Result]] = deque()
        try:
            for function in functions:
                pending.append(self._submit(function, _USUAL))
                if len(pending) > ahead + self.count:
                    yield self._wait(pending.popleft(), seconds)
            while pending:
                yield self._wait(pending.popleft(), seconds)
        finally:
            for future in pending:
                future.cancel()

    def share_out(self, function: Callable[[Part], None], parts: Iterable[Part]) -> None:
        """Call a function with each of some parts, in this thread and in those that have nothing to do.

        Other than `call`, it may be used from inside a function that these threads run: nobody waits
        for a thread that has not begun, and there is no limit of time but the caller's own.

        Raises
        ------
        SlideReadError
            The threads were closed.
        Exception
            Whatever the function raised. No further part is begun, and the other threads' are not waited
            for, as one of them can be stalled.
        """
        waiting = deque(parts)
        job = partial(_work_off, function, waiting)
        helping: list[Future[None]] = []
        with self._working():
            try:
                with suppress(_NoThreadError):  # this one can do it all
                    for _ in range(min(self._spare, len(waiting) - 1)):
                        helping.append(self._submit(job, _URGENT))
                job()
            finally:
                waiting.clear()  # after an error the helpers end with the part that they are at
                begun = [future for future in helping if not future.cancel()]
            done, _ = wait(begun, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Count a thread that shares out work, so that many of them at once do not."""
        with self._lock:
            self._sharing += 1
        try:
            yield
        finally:
            with self._lock:
                self._sharing -= 1

    @property
    def _spare(self) -> int:
        """How many threads may help: a thread that shares out work counts as one of them, and busy."""
        with self._lock:
            return max(0, self.count - max(self._unfinished, self._sharing))

    def close(self) -> None:
        """Let the threads end after what was submitted; nothing more is taken.

        It takes no lock: the garbage collector calls it, perhaps in a thread that holds the lock.
        """
        self._closed = True

    def _submit(self, function: Callable[[], Result], urgency: int) -> Future[Result]:
        future: Future[Result] = Future()
        if self._closed:
            raise SlideReadError(f"{self._what} was closed; open it again to read it.")
        with self._lock:
            if self._threads < min(self.count, self._unfinished + 1):
                self._start_thread()
            self._jobs.put((urgency, next(self._order), future, function))
            self._unfinished += 1
        return future

    def _start_thread(self) -> None:
        """One more, or none where the system has no more and others can do the work."""
        try:
            threading.Thread(target=self._work, name="slide-reader", daemon=True).start()
        except RuntimeError as error:
            if not self._threads:
                raise _NoThreadError(
                    f"{self._what} cannot be read: {error}. Close other programs, and try again."
                ) from error
        else:
            self._threads += 1

    def _wait(self, future: Future[Result], seconds: float) -> Result:
        try:
            return future.result(seconds)
        except TimeoutError as error:
            if future.done():  # just now, or the error is the function's own
                return future.result()
            future.cancel()
            raise self._stalled(seconds) from error

    def _stalled(self, seconds: float) -> SlideStalledError:
        return SlideStalledError(
            f"{self._what} did not answer within {seconds:g} s. Its disk or network may be down: look "
            "whether the file can be copied, and try again."
        )

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            _, _, future, function = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)
            with self._lock:
                self._unfinished -= 1
            del job, future, function  # a thread that waits for work keeps no pixels

    def _next_job(self) -> _Job | None:
        """The most urgent job; None where there is none and will be none."""
        while True:
            closed = self._closed  # asked before: what is submitted meanwhile is not left
            try:
                return self._jobs.get(timeout=_LOOK_UP_S)
            except queue.Empty:
                if closed:
                    return None


def _work_off(function: Callable[[Part], None], waiting: deque[Part]) -> None:
    while True:
        try:
            part = waiting.popleft()
        except IndexError:
            return
        try:
            function(part)
        except BaseException:
            waiting.clear()  # the others end with the part that they are at
            raise
