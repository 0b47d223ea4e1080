"""Work is shared out among threads, and torch's own settings are left as they are."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context

import pytest
import torch

from napari_hmkd.model import sharing
from napari_hmkd.model.sharing import answer_in_parts, beside, has_helpers, share_out

THREADS = 3


@pytest.fixture(autouse=True)
def three_threads() -> None:
    torch.set_num_threads(THREADS)


class Squares:
    """Writes the square of each part, and notes who did it."""

    def __init__(self, count: int) -> None:
        self.found = torch.zeros(count)
        self.names: set[str] = set()
        self.modes: set[tuple[bool, bool, int]] = set()
        self._together = threading.Barrier(min(count, THREADS))

    def work(self, parts: Iterator[int]) -> None:
        self.names.add(threading.current_thread().name)
        self.modes.add(
            (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads())
        )
        self._together.wait(timeout=30)
        for part in parts:
            self.found[part] = part**2


@pytest.mark.parametrize("count", [2, 3, 50])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_each_part_is_computed_by_one_of_all_threads(count: int, mode: type) -> None:
    with mode():
        squares = Squares(count)
        share_out(squares.work, range(count))
    assert squares.found.tolist() == [float(part**2) for part in range(count)]
    assert len(squares.names) == min(count, THREADS)
    assert squares.modes == {(False, mode is torch.inference_mode, 1)}


def test_a_single_part_stays_with_the_caller_and_torchs_threads() -> None:
    squares = Squares(1)
    share_out(squares.work, range(1))
    assert squares.names == {threading.current_thread().name}
    assert squares.modes == {(False, False, THREADS)}
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_batch_is_answered_in_order_by_threads_that_torch_leaves_alone(
    count: int, mode: type
) -> None:
    seen: list[tuple[bool, bool, int]] = []

    def forward(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        seen.append((inference, gradients, torch.get_num_threads()))
        return x + y

    x, y = torch.arange(2 * count).view(2, count, 1)
    with mode():
        found = answer_in_parts(forward, x, y)
    torch.testing.assert_close(torch.cat(found), x + y)
    modes = mode is torch.inference_mode, mode is torch.enable_grad
    assert seen == [(*modes, 1)] * len(found)
    assert 1 <= len(found) <= min(count, THREADS)


def test_where_torch_has_one_thread_the_caller_answers() -> None:
    torch.set_num_threads(1)
    (name,) = answer_in_parts(named, torch.zeros(5, 1))
    assert name == named()


def test_within_a_part_those_help_who_have_nothing_to_do() -> None:
    squares = Squares(THREADS)  # each waits for the others
    answer_in_parts(lambda _: share_out(squares.work, range(THREADS)), torch.zeros(1))
    assert squares.found.tolist() == [0, 1, 4]
    assert len(squares.names) == THREADS
    assert squares.modes == {(False, False, 1)}


def named(*_: object) -> str:
    return threading.current_thread().name


def test_jobs_run_beside_each_other_where_threads_have_nothing_to_do() -> None:
    begun = threading.Barrier(THREADS)

    def job(number: int) -> tuple[int, str]:
        begun.wait(timeout=30)
        return number, named()

    def forward(_: torch.Tensor) -> list[tuple[int, str]]:
        return beside(*(partial(job, number) for number in range(THREADS)))

    with torch.no_grad():
        (found,) = answer_in_parts(forward, torch.zeros(1))
    assert [number for number, _ in found] == list(range(THREADS))
    assert len({name for _, name in found}) == THREADS


@pytest.mark.parametrize(("mode", "parts"), [(torch.no_grad, THREADS), (torch.enable_grad, 1)])
def test_elsewhere_the_caller_does_one_job_after_the_other(mode: type, parts: int) -> None:
    def forward(_: torch.Tensor) -> list[str]:
        assert not has_helpers()
        return [named(), *beside(*[named] * 9)]

    with mode():
        answers = answer_in_parts(forward, torch.zeros(parts, 1))
    answers.append(forward(torch.zeros(1)))
    assert [len(set(names)) for names in answers] == [1] * (parts + 1)


def test_jobs_may_have_jobs_of_their_own() -> None:
    def count(depth: int) -> int:
        return sum(beside(*[partial(count, depth - 1)] * 3)) if depth else 1

    with torch.no_grad():
        assert answer_in_parts(lambda _: count(5), torch.zeros(THREADS - 1, 1)) == [3**5] * 2


def test_nobody_waits_for_help_that_does_not_come() -> None:
    """All are busy with parts of their own, of which each shares out work, too."""
    begun = threading.Barrier(THREADS)

    def forward(part: torch.Tensor) -> list[int]:
        begun.wait(timeout=30)
        done: list[int] = []
        share_out(lambda parts: done.extend(parts), range(20))
        return done

    assert [sorted(done) for done in answer_in_parts(forward, torch.zeros(THREADS, 1))] == (
        [list(range(20))] * THREADS
    )


def test_an_error_of_a_helper_is_raised() -> None:
    everyone = threading.Barrier(THREADS)

    def work(parts: Iterator[int]) -> None:
        everyone.wait(timeout=30)
        if 1 in parts:
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        answer_in_parts(lambda _: share_out(work, range(THREADS)), torch.zeros(1))


def test_nothing_to_do_is_no_error() -> None:
    share_out(lambda parts: list(parts), [])


def test_torchs_number_of_threads_stays_everywhere() -> None:
    sharing._pool.cache_clear()  # a new pool is what could change it
    share_out(Squares(5).work, range(5))
    found = [torch.get_num_threads()]
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [THREADS, THREADS]


def test_an_error_is_raised_when_all_have_ended_with_the_part_that_they_were_at() -> None:
    everyone, failed = threading.Barrier(THREADS), threading.Event()
    done: list[int] = []

    def work(parts: Iterator[int]) -> None:
        for part in parts:
            if part < THREADS:
                everyone.wait(timeout=30)
            if part == 0:
                failed.set()
                raise RuntimeError("no memory")
            assert failed.wait(timeout=30)
            time.sleep(0.1)  # later than the error
            done.append(part)

    with pytest.raises(RuntimeError, match="no memory"):
        share_out(work, range(20))
    assert sorted(done) == list(range(1, THREADS))


def test_what_an_error_has_seen_goes_with_it() -> None:
    seen: list[weakref.ref] = []

    def forward(part: torch.Tensor) -> None:
        large = torch.zeros(5)
        seen.append(weakref.ref(large))
        raise RuntimeError("no memory")

    gc.disable()
    try:
        with contextlib.suppress(RuntimeError):
            answer_in_parts(forward, torch.zeros(THREADS, 1))
        assert len(seen) == THREADS
        assert [one() for one in seen] == [None] * THREADS
    finally:
        gc.enable()


def test_help_that_was_not_needed_holds_nothing() -> None:
    """All are busy; what was offered meanwhile still waits in the pool's queue."""
    begun, over = threading.Barrier(THREADS), threading.Event()
    offered: list[weakref.ref] = []

    def forward(part: torch.Tensor) -> None:
        begun.wait(timeout=30)
        if part[0, 0] == 0:
            large = torch.zeros(5)
            offered.append(weakref.ref(large))
            share_out(lambda parts, large=large: [large.add_(one) for one in parts], range(9))
            del large
            assert offered[0]() is None
            over.set()
        assert over.wait(timeout=30)

    answer_in_parts(forward, torch.arange(THREADS)[:, None])


def test_where_the_system_gives_too_few_threads_none_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sharing._pool.cache_clear()
    begun: list[threading.Thread] = []
    plain = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if len(begun) == THREADS - 1:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        plain(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="new thread"):
        share_out(Squares(5).work, range(5))
    for thread in begun:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert torch.get_num_threads() == THREADS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    share_out(Squares(5).work, range(5))
    child = get_context("fork").Process(target=lambda: share_out(Squares(5).work, range(5)))
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0
