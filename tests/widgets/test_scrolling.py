"""A panel in a dock that is lower than it."""

from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from magicgui.widgets import Container, Label, PushButton
from qtpy.QtWidgets import QScrollArea

from napari_hmkd.widgets.notice import wrap
from napari_hmkd.widgets.scrolling import scroll

pytestmark = pytest.mark.gui
LINES = 12
HEIGHT_PX = 900


@pytest.fixture
def panels(viewer, qtbot, show_window) -> list[Container]:
    """Three in a window, each of them higher than a third of it."""
    show_window()
    viewer.window._qt_window.resize(1200, HEIGHT_PX)
    made = []
    for name in ("one", "two", "three"):
        text = Label(value="so many words that they must be broken " * LINES)
        panel = Container(
            widgets=[*(PushButton(text=name) for _ in range(LINES)), text], labels=False
        )
        wrap(text)
        scroll(panel)
        viewer.window.add_dock_widget(panel, name=name)
        made.append(panel)
    qtbot.wait(50)
    return made


def test_panels_leave_the_window_its_height(viewer, panels: list[Container]) -> None:
    assert viewer.window._qt_window.height() == HEIGHT_PX
    assert sum(panel.native.height() for panel in panels) < HEIGHT_PX


def test_no_text_is_cut_and_nothing_scrolls_sideways(panels: list[Container]) -> None:
    for panel in panels:
        text = panel[-1].native
        assert text.height() >= text.heightForWidth(text.width()) > LINES
        (area,) = panel.native.findChildren(QScrollArea)
        assert area.verticalScrollBar().maximum() > 0
        assert area.horizontalScrollBar().maximum() == 0


def test_it_grows_with_what_is_in_it(panels: list[Container], qtbot) -> None:
    before = panels[0].native.minimumSizeHint().width()
    panels[0][0].text = "a button of very many words " * 3
    qtbot.waitUntil(lambda: panels[0].native.minimumSizeHint().width() > before + 100)
