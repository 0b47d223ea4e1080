"""Work is shared out among threads, and torch's own settings are left as they are."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from multiprocessing import get_context

import pytest
import torch

from napari_hmkd.model.sharing import in_threads, share_out

THREADS = 3


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


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
def test_a_batch_is_answered_in_order_by_threads_that_torch_leaves_alone(count: int) -> None:
    seen: list[tuple[bool, int]] = []

    def forward(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append((torch.is_inference_mode_enabled(), torch.get_num_threads()))
        return x + y

    x, y = torch.arange(2 * count).view(2, count, 1)
    with torch.inference_mode():
        found = in_threads(forward, x, y)
    torch.testing.assert_close(torch.cat(found), x + y)
    assert seen == [(True, 1)] * len(found)
    assert 1 <= len(found) <= min(count, THREADS)


def test_where_torch_has_one_thread_the_caller_answers() -> None:
    torch.set_num_threads(1)
    (name,) = in_threads(lambda _: threading.current_thread().name, torch.zeros(5, 1))
    assert name == threading.current_thread().name


def test_within_a_part_those_help_who_have_nothing_to_do() -> None:
    squares = Squares(THREADS)  # each waits for the others
    in_threads(lambda _: share_out(squares.work, range(THREADS)), torch.zeros(1))
    assert squares.found.tolist() == [0, 1, 4]
    assert len(squares.names) == THREADS
    assert squares.modes == {(False, False, 1)}


def test_nobody_waits_for_help_that_does_not_come() -> None:
    """All are busy with parts of their own, of which each shares out work, too."""
    begun = threading.Barrier(THREADS)

    def forward(part: torch.Tensor) -> list[int]:
        begun.wait(timeout=30)
        done: list[int] = []
        share_out(lambda parts: done.extend(parts), range(20))
        return done

    assert [sorted(done) for done in in_threads(forward, torch.zeros(THREADS, 1))] == (
        [list(range(20))] * THREADS
    )


def test_an_error_of_a_helper_is_raised() -> None:
    everyone = threading.Barrier(THREADS)

    def work(parts: Iterator[int]) -> None:
        everyone.wait(timeout=30)
        if 1 in parts:
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        in_threads(lambda _: share_out(work, range(THREADS)), torch.zeros(1))


def test_nothing_to_do_is_no_error() -> None:
    share_out(lambda parts: list(parts), [])


def test_torchs_number_of_threads_stays_everywhere() -> None:
    share_out(Squares(5).work, range(5))
    found = [torch.get_num_threads()]
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [THREADS, THREADS]


def test_an_error_is_raised_when_all_have_ended() -> None:
    done: list[int] = []

    def work(parts: Iterator[int]) -> None:
        for part in parts:
            if part == 0:
                raise RuntimeError("no memory")
            done.append(part)

    with pytest.raises(RuntimeError, match="no memory"):
        share_out(work, range(20))
    assert sorted(done) == list(range(1, 20))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    share_out(Squares(5).work, range(5))
    child = get_context("fork").Process(target=lambda: share_out(Squares(5).work, range(5)))
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0
