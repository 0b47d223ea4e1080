"""A panel's button pressed as a user does, until what it starts has ended."""

from __future__ import annotations

PATIENCE_MS = 60_000


def press_and_wait(panel, qtbot, button=None) -> bool:
    """Press the panel's start, or the button that is named; whether its run came to the end."""
    complete: list[bool] = []
    panel.run.ended.connect(complete.append)
    (button or panel.start).native.click()
    qtbot.waitUntil(lambda: bool(complete), timeout=PATIENCE_MS)
    panel.run.ended.disconnect(complete.append)
    return complete[0]
