"""Work of which the latest counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from types import SimpleNamespace

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari_hmkd.errors import SlideError
from napari_hmkd.widgets.attention_run import LatestRun

pytestmark = pytest.mark.gui


@pytest.fixture
def work() -> tuple[Callable[..., Iterator[str]], Event, list[str]]:
    """Work of three steps that waits after its first, the event that it waits for, and which ended."""
    go_on, ended = Event(), []

    def steps(subject, name: str) -> Iterator[str]:
        try:
            for number in range(3):
                yield f"{name}{number}"
                assert go_on.wait(30)
        finally:
            ended.append(name)

    return steps, go_on, ended


@pytest.fixture
def run() -> tuple[LatestRun, list[tuple[str, str]]]:
    """A run, and what it says."""
    run, said = LatestRun(), []
    run.stepped.connect(lambda key, step: said.append((key, step)))
    return run, said


def subject(key: str) -> SimpleNamespace:
    return SimpleNamespace(key=key)


def test_each_step_is_told_with_whose_it_is(qapp, qtbot, work, run) -> None:
    (steps, go_on, _), (run, said) = work, run
    go_on.set()
    run.start("counting", steps, subject("one"), "a")
    qtbot.waitUntil(lambda: not run.running)
    assert said == [("one", "a0"), ("one", "a1"), ("one", "a2")]
    assert not run.stopping


def test_the_latest_is_done_after_the_step_that_is_under_way(qapp, qtbot, work, run) -> None:
    (steps, go_on, ended), (run, said) = work, run
    run.start("counting", steps, subject("one"), "a")
    qtbot.waitUntil(lambda: bool(said))
    run.start("counting", steps, subject("two"), "b")
    run.start("counting", steps, subject("three"), "c")
    go_on.set()
    qtbot.waitUntil(lambda: not run.running and "c" in ended)
    assert [step for _, step in said if step[0] == "a"] in (["a0"], ["a0", "a1"])
    assert [one for one in said if one[0] != "one"] == [("three", f"c{n}") for n in range(3)]
    assert ended == ["a", "c"]


def test_stop_drops_what_waits_too(qapp, qtbot, work, run) -> None:
    (steps, go_on, ended), (run, said) = work, run
    run.start("counting", steps, subject("one"), "a")
    qtbot.waitUntil(lambda: bool(said))
    run.start("counting", steps, subject("two"), "b")
    run.stop()
    assert run.stopping
    go_on.set()
    qtbot.waitUntil(lambda: not run.running)
    assert ended == ["a"]
    assert len(said) <= 2


def test_after_a_failure_the_next_is_done(qapp, qtbot, work, run) -> None:
    (steps, go_on, _), (run, said) = work, run
    failures: list[str] = []
    run.failed.connect(failures.append)

    def fail(_subject) -> Iterator[str]:
        yield "first"
        assert go_on.wait(30)
        raise SlideError("no slide")

    run.start("failing", fail, subject("one"))
    qtbot.waitUntil(lambda: bool(said))
    go_on.set()
    qtbot.waitUntil(lambda: not run.running)
    assert failures == ["no slide"]
    run.start("counting", steps, subject("two"), "b")
    qtbot.waitUntil(lambda: not run.running)
    assert said[1:] == [("two", f"b{n}") for n in range(3)]
