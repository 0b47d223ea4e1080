"""Work in the background: its steps, its failures, its end."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from threading import Event
from weakref import ref

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtCore import QThreadPool

from napari_hmkd.errors import SlideError
from napari_hmkd.widgets.background import BackgroundRun, Failure, guarded

pytestmark = pytest.mark.gui


class Counting(BackgroundRun):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[object] = []
        self.failed.connect(self.said.append)
        self.ended.connect(lambda well: self.said.append("well" if well else "badly"))

    def count(self, failure: Exception | None = None) -> None:
        def steps(upto: int) -> Iterator[int]:
            yield from range(upto)
            if failure is not None:
                raise failure

        self._begin("counting", steps, 2)

    def _on_step(self, step: int) -> None:
        self.said.append(step)


def test_steps_come_in_order_and_then_the_end(qapp, qtbot) -> None:
    run = Counting()
    for _ in range(2):
        run.count()
        assert run.running
        qtbot.waitUntil(lambda: not run.running)
    assert run.said == [0, 1, "well"] * 2


@pytest.mark.parametrize(
    ("failure", "reported"),
    [(SlideError("no slide"), False), (RuntimeError("no driver"), True), (KeyError("mpp"), True)],
)
def test_a_failure_ends_the_run_and_is_told_and_reported_only_where_it_is_no_refusal(
    qapp, qtbot, failure: Exception, reported: bool
) -> None:
    run = Counting()
    with qtbot.captureExceptions() as raised:
        run.count(failure)
        qtbot.waitUntil(lambda: not run.running)
    assert (run.said[:2], run.said[3]) == ([0, 1], "badly")
    assert str(failure) in run.said[2]
    assert [str(failure) in str(error) for _, error, _ in raised] == [True] * reported


def test_a_closed_run_says_nothing_more(qapp, qtbot) -> None:
    run = Counting()
    run.count()
    worker = run._worker
    run.close()
    qtbot.waitUntil(lambda: not worker.is_running)
    qtbot.wait(50)
    assert (run.running, run.said) == (False, [])


def test_no_error_reaches_the_worker() -> None:
    driver = RuntimeError("the driver went away")

    def fail() -> Iterator[int]:
        yield 1
        raise driver

    assert list(guarded(fail)) == [1, Failure(driver)]


def until_told(run: Counting) -> None:
    """Wait, deaf, until all that a run's worker has to say is on its way to the window."""
    worker = run._worker
    assert QThreadPool.globalInstance().waitForDone(30_000)
    assert not worker.is_running


def test_what_was_on_its_way_when_a_run_was_closed_is_not_heard(qapp, qtbot) -> None:
    run = Counting()
    run.count()
    until_told(run)
    run.close()
    qtbot.wait(50)
    assert run.said == []


def test_the_end_of_work_that_was_closed_is_not_taken_for_that_of_the_next(qapp, qtbot) -> None:
    run = Counting()
    run.count()
    until_told(run)
    run.close()
    run.count()
    qtbot.waitUntil(lambda: not run.running)
    qtbot.wait(50)
    assert run.said == [0, 1, "well"]


def test_what_was_on_its_way_to_a_run_that_is_gone_reaches_nobody(qapp, qtbot) -> None:
    run = Counting()
    run.count()
    until_told(run)
    run.close()
    said, gone = run.said, ref(run)
    del run
    qtbot.wait(50)
    gc.collect()
    assert gone() is None
    assert said == []


def test_work_that_is_begun_before_the_former_has_ended_is_all_that_is_heard(qapp, qtbot) -> None:
    go_on = Event()

    def late() -> Iterator[str]:
        assert go_on.wait(10)
        yield "late"

    run = Counting()
    run._begin("waiting", late)
    former = run._worker
    run.count()
    qtbot.waitUntil(lambda: not run.running)
    go_on.set()
    qtbot.waitUntil(lambda: not former.is_running)
    qtbot.wait(20)
    assert run.said == [0, 1, "well"]


@pytest.mark.parametrize("closed", [False, True], ids=["ended", "closed"])
def test_the_window_does_not_keep_a_run_whose_work_is_over(viewer, qtbot, closed: bool) -> None:
    """napari keeps every worker until its window closes."""
    run = Counting()
    run.count()
    until_told(run)
    if closed:
        run.close()
    gone = ref(run)
    del run
    qtbot.wait(50)
    gc.collect()
    assert gone() is None


def test_the_window_hears_the_end_of_work_that_was_closed(viewer, qtbot) -> None:
    """As long as napari holds a worker for unfinished, it asks before its window closes."""
    tasks = viewer.window._task_status_manager
    run = Counting()
    run.count()
    worker = run._worker
    assert tasks.is_busy()
    run.close()
    qtbot.waitUntil(lambda: not worker.is_running)
    qtbot.wait(50)
    assert not tasks.is_busy()
