"""Which field has the keyboard is seen, and a panel at work does not lose it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    FloatSlider,
    LineEdit,
    PushButton,
)
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QApplication, QProxyStyle, QStyle, QWidget
from tests.widgets.inspector import Opening
from tests.widgets.pressing import PATIENCE_MS, each_step_shown

from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.keyboard_focus import FocusRing, KeyboardKept
from napari_hmkd.widgets.scrolling import scroll

pytestmark = pytest.mark.gui


@pytest.fixture
def activate(viewer, show_window) -> Callable[[], None]:
    """Have keys go to the window, until events are next seen to: another worker's window may take them."""
    show_window()

    def activate_now() -> None:
        QApplication.setActiveWindow(viewer.window._qt_window)

    activate_now()
    return activate_now


def has_keyboard(widget: QWidget) -> bool:
    """Whether keys go to a widget while its window is active, as it is now or when a user comes back."""
    return widget.window().focusWidget() is widget


class Run:
    """Stands for a panel's run, which can be started with its button, or with a key from its fields."""

    def __init__(self, viewer) -> None:
        self.field, self.file = LineEdit(), FileEdit()
        self.start, self.stop = PushButton(text="Start"), PushButton(text="Stop", enabled=False)
        self.other = PushButton(text="other")
        fields = [self.field, self.file, self.start, self.stop, self.other]
        self.panel = Container(widgets=fields)
        self.dock = viewer.window.add_dock_widget(self.panel, name="fields")
        self._keyboard = KeyboardKept(self.panel.native, self.stop.native)

    def set_busy(self, busy: bool) -> None:
        with self._keyboard.kept():
            self.stop.enabled = busy
            for one in (self.file.native, self.start.native, self.field.native):
                if isalive(one):
                    one.setEnabled(not busy)


@pytest.fixture
def run(viewer, activate) -> Run:
    return Run(viewer)


def delete(widget: QWidget) -> None:
    widget.deleteLater()
    QApplication.sendPostedEvents(widget, QEvent.Type.DeferredDelete)


def picture_of(widget: QWidget) -> np.ndarray:
    """What is on screen: uint8 (height, width, 4)."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    bits = image.constBits()
    if hasattr(bits, "setsize"):  # PyQt6
        bits.setsize(image.sizeInBytes())
    return np.frombuffer(bits, np.uint8).reshape(image.height(), image.width(), 4).copy()


def is_marked(panel: QWidget, before: np.ndarray) -> bool:
    """Whether a line was drawn since: rows and columns of pixels that are far from what they were."""
    far = (np.abs(picture_of(panel).astype(int) - before)[..., :3] > 100).all(axis=2)
    return bool(far.sum(axis=1).max() > 20 and far.sum(axis=0).max() > 10)


def is_in_sight(widget: QWidget) -> bool:
    """Whether a widget is laid out in a panel that is."""
    return widget.isVisible() and widget.visibleRegion().boundingRect() == widget.rect()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_field_with_the_keyboard_is_seen_in_either_theme(
    viewer, qtbot, activate, theme
) -> None:
    viewer.theme = theme
    fields = [ComboBox(choices=["a", "b"]), FloatSlider(), CheckBox(text="c"), PushButton(text="d")]
    panel = Container(widgets=fields)
    scroll(panel.native)
    viewer.window.add_dock_widget(panel, name="fields")
    below = fields[-1].native
    qtbot.waitUntil(lambda: is_in_sight(below))
    activate()
    for field in fields:
        viewer.window._qt_viewer.setFocus()
        before = picture_of(panel.native)
        field.native.nextInFocusChain().setFocus() if isinstance(
            field, FloatSlider
        ) else field.native.setFocus()
        assert is_marked(panel.native, before), field
    viewer.window._qt_viewer.setFocus()
    assert not is_marked(panel.native, before)


def test_the_line_goes_along_with_its_field(viewer, qtbot, activate) -> None:
    above, field = PushButton(text="above"), ComboBox(choices=["a"])
    panel = Container(widgets=[above, field])
    scroll(panel.native)
    viewer.window.add_dock_widget(panel, name="fields")
    qtbot.waitUntil(lambda: is_in_sight(field.native))

    def top() -> int:
        return field.native.mapTo(panel.native, QPoint()).y()

    activate()
    field.native.setFocus()
    top_before = top()
    above.hide()
    qtbot.waitUntil(lambda: top() < top_before)
    activate()
    marked = picture_of(panel.native)
    viewer.window._qt_viewer.setFocus()
    lines = np.abs(picture_of(panel.native).astype(int) - marked)[..., 0].sum(axis=1).nonzero()[0]
    assert top() - 3 <= lines.min()
    assert lines.max() <= top() + field.native.height() + 3


@pytest.mark.parametrize("by_file", [False, True], ids=["the button", "a file's field"])
def test_stop_has_the_keyboard_during_a_run_and_gives_it_back(
    widget: GradeWidget, qtbot, activate, monkeypatch, press_key, by_file: bool
) -> None:
    each_step_shown(monkeypatch)
    before = widget.start.native
    if by_file:
        widget.model.listed.value = widget.model.listed.choices[-1]
        before = widget.model.file.line_edit.native
        before.setText("of nobody.safetensors")
    before.setFocus()
    if by_file:
        press_key("G", where=before)
    else:
        qtbot.keyClick(before, Qt.Key.Key_Space)
    assert widget.run.running
    assert has_keyboard(widget.stop.native)
    qtbot.keyClick(widget.stop.native, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: not widget.run.running, timeout=PATIENCE_MS)
    assert has_keyboard(before)


@pytest.mark.slow
def test_so_it_is_in_show_attention(open_inspector: Opening, activate, undoubted, qtbot) -> None:
    panel = open_inspector()
    panel.inspect.native.setFocus()
    qtbot.keyClick(panel.inspect.native, Qt.Key.Key_Space)
    assert has_keyboard(panel.stop.native)
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)
    assert has_keyboard(panel.inspect.native)


def test_who_has_gone_elsewhere_meanwhile_is_left_there(run: Run) -> None:
    run.file.line_edit.native.setFocus()
    run.set_busy(True)
    assert has_keyboard(run.stop.native)
    run.other.native.setFocus()
    run.set_busy(False)
    assert has_keyboard(run.other.native)


def test_who_has_gone_to_the_canvas_and_another_program_is_left_there(viewer, run: Run) -> None:
    canvas = viewer.window._qt_viewer.canvas.native
    run.start.native.setFocus()
    run.set_busy(True)
    assert has_keyboard(run.stop.native)
    canvas.setFocus()
    QApplication.setActiveWindow(None)
    run.set_busy(False)
    assert has_keyboard(canvas)


def test_a_run_that_ends_while_another_program_is_used_gives_the_keyboard_back(run: Run) -> None:
    run.start.native.setFocus()
    run.set_busy(True)
    QApplication.setActiveWindow(None)
    run.set_busy(False)
    assert has_keyboard(run.start.native)


class OneForAll(QProxyStyle):
    """As on a Mac, a dock of its own is active while its main window is."""

    def styleHint(self, hint: QStyle.StyleHint, *more: object) -> int:
        if hint == QStyle.StyleHint.SH_Widget_ShareActivation:
            return 1
        return super().styleHint(hint, *more)


@pytest.mark.parametrize("shared", [False, True], ids=["active alone", "active with its window"])
def test_a_dock_of_its_own_does_not_take_the_keyboard_out_of_the_canvas(
    viewer, activate, run: Run, shared: bool
) -> None:
    canvas = viewer.window._qt_viewer.canvas.native
    run.dock.setFloating(True)
    style = OneForAll()
    for one in run.panel if shared else ():
        one.native.setStyle(style)
    QApplication.setActiveWindow(run.dock)
    run.start.native.setFocus()
    run.set_busy(True)
    assert has_keyboard(run.stop.native)
    activate()
    canvas.setFocus()
    run.set_busy(False)
    assert QApplication.focusWidget() is canvas
    assert has_keyboard(run.start.native), "who comes back to the dock finds it where it was"


def test_what_was_deleted_meanwhile_is_not_given_the_keyboard(run: Run) -> None:
    run.field.native.setFocus()
    run.set_busy(True)
    assert has_keyboard(run.stop.native)
    delete(run.field.native)
    run.set_busy(False)
    run.start.native.setFocus()
    run.set_busy(True)
    run.set_busy(False)
    assert has_keyboard(run.start.native), "as if there had been no such field"


def test_the_line_goes_with_a_field_that_is_deleted(viewer, qtbot, activate) -> None:
    field, other = LineEdit(), PushButton(text="other")
    panel = Container(widgets=[field, other])
    scroll(panel.native)
    viewer.window.add_dock_widget(panel, name="fields")
    qtbot.waitUntil(lambda: is_in_sight(other.native))
    before = picture_of(panel.native)
    activate()
    field.native.setFocus()
    assert is_marked(panel.native, before)
    delete(field.native)
    assert panel.native.findChild(FocusRing).isHidden()
