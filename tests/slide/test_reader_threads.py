"""Reads are waited for, but not for ever."""

from __future__ import annotations

import threading
import time

import pytest

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.slide.reader_threads import ReaderThreads


@pytest.fixture
def threads():
    found = ReaderThreads("'slide.svs'", count=2)
    yield found
    found.close()


def test_results_and_errors_come_through(threads: ReaderThreads) -> None:
    assert threads.wait(threads.submit(lambda: 42), 5) == 42

    def fail() -> None:
        raise SlideReadError("damaged")

    with pytest.raises(SlideReadError, match="damaged"):
        threads.wait(threads.submit(fail), 5)

    def time_out() -> None:
        raise TimeoutError("of the server")

    with pytest.raises(TimeoutError, match="of the server"):
        threads.wait(threads.submit(time_out), 5)


def test_there_are_never_more_threads_than_asked_for(threads: ReaderThreads) -> None:
    together, most, lock = [], [], threading.Lock()

    def work() -> None:
        with lock:
            together.append(1)
            most.append(len(together))
        time.sleep(0.002)
        with lock:
            together.pop()

    for future in [threads.submit(work) for _ in range(40)]:
        threads.wait(future, 5)
    assert max(most) <= 2
    assert threads.count == 2


def test_a_stalled_read_is_an_error_and_later_ones_do_not_wait_for_it(threads) -> None:
    answer = threading.Event()
    stalled = [threads.submit(answer.wait) for _ in range(2)]
    with pytest.raises(SlideStalledError, match=r"'slide.svs' did not answer within 0.1 s"):
        threads.wait(stalled[0], 0.1)
    started = time.monotonic()
    with pytest.raises(SlideStalledError):
        threads.wait(threads.submit(lambda: 1), 30)
    assert time.monotonic() - started < 5
    answer.set()
    assert stalled[0].result(5)
    assert threads.wait(threads.submit(lambda: 2), 5) == 2


def test_waiting_reads_can_be_cancelled(threads: ReaderThreads) -> None:
    go, done = threading.Event(), []
    for _ in range(2):
        threads.submit(lambda: go.wait(5))
    waiting = threads.submit(lambda: done.append(1))
    assert waiting.cancel()
    go.set()
    assert threads.wait(threads.submit(lambda: 3), 5) == 3
    assert not done
