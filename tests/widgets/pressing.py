"""A panel's button pressed as a user does, until what it starts has ended or can be stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import Semaphore

from napari_hmkd.grading import SlideGrading
from napari_hmkd.widgets import grade_run
from napari_hmkd.widgets.grade_run import GradeRun

PATIENCE_MS = 60_000


def press_and_wait(panel, qtbot, button=None) -> bool:
    """Press the panel's start, or the button that is named; whether its run came to the end."""
    complete: list[bool] = []
    panel.run.ended.connect(complete.append)
    (button or panel.start).native.click()
    qtbot.waitUntil(lambda: bool(complete), timeout=PATIENCE_MS)
    panel.run.ended.disconnect(complete.append)
    return complete[0]


def one_tile_at_a_time(monkeypatch) -> None:
    """Small steps, so that there is something to stop."""
    plain = grade_run.start_grading

    def start(slide, model, settings, *more) -> SlideGrading:
        return plain(slide, model, replace(settings, batch_size=1, device="cpu"), *more)

    monkeypatch.setattr(grade_run, "start_grading", start)


def each_step_shown(monkeypatch) -> None:
    """One tile at a time, each shown before the next is begun.

    A window can take longer to add the heatmap (napari 0.6.6: 3 s) than a small slide's tiles take.
    """
    one_tile_at_a_time(monkeypatch)
    steps, on_step, shown = grade_run._grade, GradeRun._on_step, Semaphore(0)

    def show(run: GradeRun, step: object) -> None:
        on_step(run, step)
        shown.release()

    def paced(*given) -> Iterator[object]:
        for step in steps(*given):
            yield step
            shown.acquire(timeout=1)  # in vain once nobody listens

    monkeypatch.setattr(GradeRun, "_on_step", show)
    monkeypatch.setattr(grade_run, "_grade", paced)
