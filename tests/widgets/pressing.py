"""A panel's button pressed as a user does, until what it starts has ended or can be stopped."""

from __future__ import annotations

from dataclasses import replace

from napari_hmkd.grading import SlideGrading
from napari_hmkd.widgets import grade_run

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
