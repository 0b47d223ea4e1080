"""Work in the background: its steps, its failures, its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

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
