"""A panel in a dock that is lower than it."""

from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from magicgui.widgets import ComboBox, Container, FloatSlider, Label, PushButton, SpinBox
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QComboBox, QPushButton, QScrollArea, QSlider, QWidget

from napari_hmkd.widgets.notice import wrap
from napari_hmkd.widgets.question import Question
from napari_hmkd.widgets.scrolling import scroll

pytestmark = pytest.mark.gui
LINES = 12
HEIGHT_PX = 900
LAPTOP_PX = (1366, 768)
STACKED = ("Grade HER2", "Show attention", "Predict biomarkers", "Align IHC")
STUDY = ("Grade HER2", "Show attention", "Reader study", "Slide information")


def area_of(panel: QWidget) -> QScrollArea:
    """What scrolls a panel; a text in it scrolls by itself, but is no area."""
    return next(one for one in panel.findChildren(QScrollArea) if one.parent() is panel)


def is_seen_whole(widget: QWidget) -> bool:
    return widget.visibleRegion().boundingRect() == widget.rect()


def is_reached(area: QScrollArea, widget: QWidget) -> bool:
    area.ensureWidgetVisible(widget)
    return is_seen_whole(widget)


def turn_wheel(where: QWidget) -> None:
    """Towards the user, as to see what is below."""
    place = QPointF(where.rect().center())
    QApplication.sendEvent(
        where,
        QWheelEvent(
            place, where.mapToGlobal(place), QPoint(0, 0), QPoint(0, -120), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        ),
    )  # fmt: skip


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
        scroll(panel.native)
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
        area = area_of(panel.native)
        assert area.verticalScrollBar().maximum() > 0
        assert area.horizontalScrollBar().maximum() == 0


def test_it_grows_with_what_is_in_it(panels: list[Container], qtbot) -> None:
    before = panels[0].native.minimumSizeHint().width()
    panels[0][0].text = "a button of very many words " * 3
    qtbot.waitUntil(lambda: panels[0].native.minimumSizeHint().width() > before + 100)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ComboBox, {"choices": [*range(9)]}),
        (SpinBox, {"value": 5}),
        (FloatSlider, {"value": 0.5, "max": 1}),
    ],
)
def test_the_wheel_scrolls_and_changes_no_field(qtbot, kind: type, options: dict) -> None:
    field = kind(**options)
    panel = Container(widgets=[field, *(PushButton(text="below") for _ in range(LINES))])
    scroll(panel.native)
    panel.native.resize(300, 150)
    panel.show()
    qtbot.waitUntil(lambda: area_of(panel.native).verticalScrollBar().maximum() > 0)
    before = field.value
    turn_wheel(field.native.findChild(QSlider) or field.native)
    assert field.value == before
    assert area_of(panel.native).verticalScrollBar().value() > 0
    panel.close()


def test_a_question_that_is_asked_below_comes_into_sight(qtbot) -> None:
    question = Question("Yes", "No")
    panel = Container(widgets=[*(PushButton(text="above") for _ in range(LINES)), question])
    scroll(panel.native)
    panel.native.resize(300, 150)
    panel.show()
    question.ask("Is it seen?")
    qtbot.waitUntil(lambda: is_seen_whole(question.native))
    panel.close()


def test_a_question_whose_panel_goes_at_once_is_not_looked_for(qtbot) -> None:
    question = Question("Yes", "No")
    panel = Container(widgets=[question])
    scroll(panel.native)
    with qtbot.captureExceptions() as raised:
        question.ask("Is it seen?")
        panel.native.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        qtbot.wait(20)
    assert raised == []


def test_a_long_question_does_not_widen_its_panel_and_is_read_whole(qtbot) -> None:
    question = Question("Yes", "No")
    panel, text = Container(widgets=[question]), question.text.native
    scroll(panel.native)
    panel.native.resize(300, 400)
    panel.show()
    question.ask("Is it?")
    qtbot.wait(50)
    width, line = panel.native.minimumSizeHint().width(), text.height()
    question.ask("Is it really all that was to be asked? " * LINES)
    qtbot.waitUntil(lambda: text.height() >= text.heightForWidth(text.width()) > line)
    assert panel.native.minimumSizeHint().width() == width
    panel.close()


@pytest.mark.parametrize("names", [STACKED, STUDY, ("Train",)], ids=["stacked", "study", "Train"])
def test_on_a_laptop_every_button_is_reached(viewer, qtbot, show_window, names) -> None:
    show_window()
    window = viewer.window._qt_window
    window.resize(*LAPTOP_PX)
    for name in names:
        viewer.window.add_plugin_dock_widget("napari-hmkd", name)
    qtbot.wait(100)
    assert (window.width(), window.height()) == LAPTOP_PX
    for panel in viewer.window.dock_widgets.values():
        area = area_of(getattr(panel, "native", panel))
        assert area.horizontalScrollBar().maximum() == 0
        for field in area.findChildren(QPushButton) + area.findChildren(QComboBox):
            # A busy machine has not laid out the panel yet.
            qtbot.waitUntil(lambda f=field, a=area: not f.isVisible() or is_reached(a, f))
