"""Threads that read, and that nobody has to wait for: a stalled network drive hangs no window."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from napari_hmkd.errors import SlideStalledError

Result = TypeVar("Result")

READING_LIMIT_S = 30.0
"""How long is waited for a part of a slide; a tile from a slow disk takes less than one second."""

_Job = tuple[Future, Callable[[], object]]


class ReaderThreads:
    """A few threads that read; unlike those of `concurrent.futures`, a stuck one ends with Python.

    While a read that took too long is still under way, others are not waited for either.

    Parameters
    ----------
    what : str
        What messages say is read.
    count : int, optional
        Most threads; default: one per core, at most eight. They are started when they are needed.

    Attributes
    ----------
    count : int
        As given.
    """

    def __init__(self, what: str, count: int | None = None) -> None:
        self._what = what
        self.count = count or min(8, os.cpu_count() or 1)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._stuck: list[Future] = []

    def submit(self, function: Callable[[], Result]) -> Future[Result]:
        """Have `function` called; its future can be cancelled until then."""
        future: Future[Result] = Future()
        self._jobs.put((future, function))
        if not self._idle.acquire(blocking=False):
            self._start_another()
        return future

    def wait(self, future: Future[Result], seconds: float) -> Result:
        """The result of a submitted function.

        Parameters
        ----------
        future : Future
            From `submit`.
        seconds : float
            How long to wait for it.

        Raises
        ------
        SlideStalledError
            The time is up; or whatever the function raised.
        """
        with self._lock:
            self._stuck = [one for one in self._stuck if not one.done()]
            patience = 0.0 if self._stuck else seconds
        try:
            return future.result(patience)
        except TimeoutError as error:
            if future.done():
                raise  # the function's own
            if not future.cancel():
                with self._lock:
                    self._stuck.append(future)
            raise SlideStalledError(
                f"{self._what} did not answer within {seconds:g} s. Its disk or network may be down: "
                "look whether the file can be copied, and try again."
            ) from error

    def close(self) -> None:
        """Let the threads end after what was submitted."""
        with self._lock:
            for _ in self._threads:
                self._jobs.put(None)
            self._threads = []

    def _start_another(self) -> None:
        with self._lock:
            if len(self._threads) < self.count:
                thread = threading.Thread(target=self._work, name="slide-reader", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)
            del job, future, function  # a thread that waits for work keeps no pixels
            self._idle.release()
