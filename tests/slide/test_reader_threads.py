"""Reads are waited for, but not for ever."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial

import pytest

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.slide import reader_threads
from napari_hmkd.slide.reader_threads import ReaderThreads


@pytest.fixture
def threads():
    found = ReaderThreads("'slide.svs'", count=2)
    yield found
    found.close()


def test_results_and_errors_come_through(threads: ReaderThreads) -> None:
    assert threads.call(lambda: 42, 5) == 42

    def fail() -> None:
        raise SlideReadError("damaged")

    with pytest.raises(SlideReadError, match="damaged"):
        threads.call(fail, 5)

    def time_out() -> None:
        raise TimeoutError("of the server")

    with pytest.raises(TimeoutError, match="of the server"):
        threads.call(time_out, 5)


def test_there_are_never_more_threads_than_asked_for(threads: ReaderThreads) -> None:
    together, most, lock = [], [], threading.Lock()

    def work() -> None:
        with lock:
            together.append(1)
            most.append(len(together))
        time.sleep(0.002)
        with lock:
            together.pop()

    assert len(list(threads.in_order([work] * 40, ahead=10, seconds=5))) == 40
    assert max(most) == threads.count == 2


def test_results_come_in_order_until_an_error(threads: ReaderThreads) -> None:
    def give(number: int) -> int:
        time.sleep(0.01 * (number % 3))
        if number == 4:
            raise SlideReadError("damaged")
        return number

    found = []
    with pytest.raises(SlideReadError, match="damaged"):
        found.extend(threads.in_order([partial(give, n) for n in range(9)], ahead=2, seconds=5))
    assert found == [0, 1, 2, 3]


def test_only_so_many_are_begun_and_closing_drops_the_rest(threads: ReaderThreads) -> None:
    begun = []
    results = threads.in_order([lambda: begun.append(1)] * 50, ahead=3, seconds=5)
    next(results)
    time.sleep(0.1)
    assert len(begun) <= 3 + 2 + 1
    results.close()
    so_far = len(begun)
    time.sleep(0.1)
    assert len(begun) == so_far


def test_a_stalled_read_is_an_error_in_time(threads: ReaderThreads) -> None:
    answer = threading.Event()
    with pytest.raises(SlideStalledError, match=r"'slide.svs' did not answer within 0.1 s"):
        threads.call(answer.wait, 0.1)
    with pytest.raises(SlideStalledError):
        list(threads.in_order([answer.wait], ahead=1, seconds=0.1))
    answer.set()
    assert threads.call(lambda: 2, 5) == 2


def test_drawing_waits_once_for_a_stall_and_grading_is_not_failed_by_it(threads) -> None:
    answer = threading.Event()
    with pytest.raises(SlideStalledError):
        threads.call(answer.wait, 0.1, urgent=True)
    started = time.monotonic()
    with pytest.raises(SlideStalledError):
        threads.call(lambda: 1, 30, urgent=True)
    assert time.monotonic() - started < 5
    assert threads.call(lambda: 2, 5) == 2  # the other thread is sound
    answer.set()
    assert until(lambda: threads.call(lambda: 3, 5) == 3)
    assert until(lambda: draws(threads))


def test_a_result_that_comes_as_the_time_is_up_is_taken(threads, monkeypatch) -> None:
    late = threading.Event()

    class Waiting(Future):
        def result(self, timeout: float | None = None) -> object:
            try:
                return super().result(timeout)
            except TimeoutError:
                late.set()
                wait([self], 5)
                raise

    monkeypatch.setattr(reader_threads, "Future", Waiting)
    assert threads.call(lambda: late.wait(5) and 42, 0.05) == 42


def test_a_thread_that_the_system_does_not_start_is_not_counted_on(
    threads: ReaderThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", refuse)
        with pytest.raises(SlideReadError, match="can't start new thread"):
            threads.call(lambda: 1, 5)
        done: list[int] = []
        threads.share_out(done.append, range(9))
        assert done == list(range(9))
    assert threads.call(lambda: 2, 5) == 2
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert list(threads.in_order([lambda: 3] * 5, ahead=5, seconds=5)) == [3] * 5


def draws(threads: ReaderThreads) -> bool:
    try:
        return threads.call(lambda: True, 5, urgent=True)
    except SlideStalledError:
        return False


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_what_is_urgent_comes_first() -> None:
    threads = ReaderThreads("'slide.svs'", count=1)
    order: list[str] = []
    gate = threading.Event()
    usual = threads.in_order([gate.wait, *[lambda: order.append("usual")] * 3], ahead=9, seconds=5)
    reading = threading.Thread(target=lambda: list(usual))
    reading.start()
    drawing = threading.Thread(
        target=lambda: threads.call(lambda: order.append("urgent"), 5, urgent=True)
    )
    time.sleep(0.1)
    drawing.start()
    time.sleep(0.1)
    gate.set()
    for one in (reading, drawing):
        one.join(5)
    threads.close()
    assert order == ["urgent", "usual", "usual", "usual"]


def test_after_closing_nothing_is_taken_and_no_thread_stays(threads: ReaderThreads) -> None:
    before = threading.active_count()
    threads.call(lambda: 1, 5)
    threads.close()
    with pytest.raises(SlideReadError, match="was closed"):
        threads.call(lambda: 1, 5)
    assert until(lambda: threading.active_count() <= before)


def test_what_is_submitted_before_closing_is_done_also_by_a_thread_that_has_just_given_up_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = ReaderThreads("'slide.svs'", count=1)
    get, put = threads._jobs.get, threads._jobs.put
    given_up, closed = threading.Event(), threading.Event()

    def give_up(timeout: float) -> object:
        try:
            return get(timeout=0.01)
        except queue.Empty:
            given_up.set()
            assert closed.wait(5)
            raise

    def put_and_close(job: object) -> None:
        put(job)
        threads.close()
        closed.set()

    monkeypatch.setattr(threads._jobs, "get", give_up)
    threads.call(lambda: None, 5)
    assert given_up.wait(5)
    monkeypatch.setattr(threads._jobs, "put", put_and_close)
    assert threads.call(lambda: 42, 5) == 42


def test_an_idle_thread_helps_with_parts_and_each_is_done_once(threads: ReaderThreads) -> None:
    both, done, by = threading.Barrier(2), [], set()

    def work(part: int) -> None:
        if part < 2:
            both.wait(5)  # two threads are at it
        by.add(threading.get_ident())
        done.append(part)

    threads.share_out(work, range(20))
    assert sorted(done) == list(range(20))
    assert threading.get_ident() in by
    assert len(by) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_parts_are_shared_out_from_inside_too(count: int) -> None:
    threads, done = ReaderThreads("'slide.svs'", count), []

    def read() -> None:
        threads.share_out(done.append, range(5))

    for _ in threads.in_order([read] * 8, ahead=8, seconds=5):
        pass
    threads.close()
    assert sorted(done) == sorted([*range(5)] * 8)


@pytest.mark.parametrize("where", ["caller", "helper"])
def test_an_error_in_a_part_ends_the_others(threads: ReaderThreads, where: str) -> None:
    caller, both, done = threading.get_ident(), threading.Barrier(2), []

    def work(part: int) -> None:
        if part < 2:
            both.wait(5)
            if (threading.get_ident() == caller) == (where == "caller"):
                raise SlideReadError("damaged")
            time.sleep(0.05)
        done.append(part)

    with pytest.raises(SlideReadError, match="damaged"):
        threads.share_out(work, range(200))
    assert len(done) < 198


@pytest.mark.parametrize("where", ["caller", "helper"])
def test_an_error_in_a_part_is_told_while_another_is_stalled(where: str) -> None:
    threads, caller, ended = ReaderThreads("'slide.svs'", count=3), threading.get_ident(), []
    all_begun, one_fails, answer = threading.Barrier(3), threading.Semaphore(1), threading.Event()

    def work(part: int) -> None:
        all_begun.wait(5)
        here = "caller" if threading.get_ident() == caller else "helper"
        if here == where and one_fails.acquire(blocking=False):
            raise SlideReadError("damaged")
        if here == "helper":
            answer.wait(5)
            ended.append(part)

    with pytest.raises(SlideReadError, match="damaged"):
        threads.share_out(work, range(3))
    assert not ended
    answer.set()
    threads.close()


def test_closing_while_help_is_called_begins_no_further_part(monkeypatch) -> None:
    threads, before = ReaderThreads("'slide.svs'", count=4), threading.active_count()
    begun, gate = [], threading.Event()
    start, starts = threading.Thread.start, itertools.count(1)

    def start_and_close(thread: threading.Thread) -> None:
        start(thread)
        if next(starts) == 2:
            assert until(lambda: bool(begun))  # the first one helps
            threads.close()

    def work(part: int) -> None:
        begun.append(part)
        gate.wait(5)

    monkeypatch.setattr(threading.Thread, "start", start_and_close)
    with pytest.raises(SlideReadError, match="was closed"):
        threads.share_out(work, range(50))
    gate.set()
    assert until(lambda: threading.active_count() <= before)
    assert len(begun) <= 2


def test_help_comes_before_what_nobody_waits_for_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, caller, order = ReaderThreads("'slide.svs'", count=1), threading.get_ident(), []
    gate, helped = threading.Event(), threading.Event()
    usual = threads.in_order([gate.wait, partial(order.append, "usual")], ahead=9, seconds=5)
    reading = threading.Thread(target=lambda: list(usual))
    reading.start()
    assert until(lambda: threads._jobs.qsize() == 1)
    monkeypatch.setattr(ReaderThreads, "_spare", 1)  # as it was before the others came

    def work(part: int) -> None:
        if threading.get_ident() != caller:
            order.append("help")
            helped.set()
        else:
            gate.set()
            helped.wait(5)

    threads.share_out(work, range(2))
    reading.join(5)
    threads.close()
    assert order == ["help", "usual"]


def test_where_all_are_busy_nobody_is_waited_for(threads: ReaderThreads) -> None:
    gate, busy, done = threading.Event(), threading.Barrier(3), []

    def occupy() -> None:
        busy.wait(5)
        gate.wait(5)

    held = [threading.Thread(target=partial(threads.call, occupy, 5)) for _ in range(2)]
    for one in held:
        one.start()
    busy.wait(5)
    threads.share_out(done.append, range(5))
    gate.set()
    for one in held:
        one.join(5)
    assert done == list(range(5))
