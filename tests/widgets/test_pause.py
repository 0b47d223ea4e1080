"""A moment before something is done."""

from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtCore import QCoreApplication, QEvent

from napari_hmkd.widgets.pause import Pause

pytestmark = pytest.mark.gui


class Clock:
    def __init__(self) -> None:
        self.struck = 0

    def strike(self) -> None:
        self.struck += 1


def test_started_again_and_again_it_calls_once(qapp, qtbot) -> None:
    clock = Clock()
    pause = Pause(20, clock.strike)
    for _ in range(3):
        pause.start()
        assert pause.running
    qtbot.waitUntil(lambda: not pause.running)
    qtbot.wait(50)
    assert clock.struck == 1


def test_stopped_it_calls_no_more_even_where_qt_has_ended_before(qapp, qtbot) -> None:
    clock = Clock()
    pause = Pause(20, clock.strike)
    pause.start()
    pause.stop()
    assert not pause.running
    pause.start()
    pause._timer.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    pause.stop()
    pause.start()
    assert not pause.running
    qtbot.wait(50)
    assert clock.struck == 0
