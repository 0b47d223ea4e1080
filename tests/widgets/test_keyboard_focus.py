"""Which field has the keyboard is seen, and a panel at work does not lose it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, FloatSlider, PushButton
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QApplication, QWidget
from tests.widgets.inspector import Opening
from tests.widgets.pressing import PATIENCE_MS, each_step_shown

from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.keyboard_focus import KeyboardKept
from napari_hmkd.widgets.scrolling import scroll

pytestmark = pytest.mark.gui


@pytest.fixture
def active(viewer, show_window) -> None:
    """The window is the one that keys go to."""
    show_window()
    QApplication.setActiveWindow(viewer.window._qt_window)


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


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_field_with_the_keyboard_is_seen_in_either_theme(viewer, qtbot, active, theme) -> None:
    viewer.theme = theme
    fields = [ComboBox(choices=["a", "b"]), FloatSlider(), CheckBox(text="c"), PushButton(text="d")]
    panel = Container(widgets=fields)
    scroll(panel.native)
    viewer.window.add_dock_widget(panel, name="fields")
    qtbot.wait(50)
    for field in fields:
        viewer.window._qt_viewer.setFocus()
        before = picture_of(panel.native)
        field.native.nextInFocusChain().setFocus() if isinstance(
            field, FloatSlider
        ) else field.native.setFocus()
        assert is_marked(panel.native, before), field
    viewer.window._qt_viewer.setFocus()
    assert not is_marked(panel.native, before)


def test_the_line_goes_along_with_its_field(viewer, qtbot, active) -> None:
    above, field = PushButton(text="above"), ComboBox(choices=["a"])
    panel = Container(widgets=[above, field])
    scroll(panel.native)
    viewer.window.add_dock_widget(panel, name="fields")
    qtbot.wait(50)
    field.native.setFocus()
    above.hide()
    qtbot.wait(50)
    marked = picture_of(panel.native)
    viewer.window._qt_viewer.setFocus()
    lines = np.abs(picture_of(panel.native).astype(int) - marked)[..., 0].sum(axis=1).nonzero()[0]
    top = field.native.mapTo(panel.native, field.native.rect().topLeft()).y()
    assert top - 3 <= lines.min()
    assert lines.max() <= top + field.native.height() + 3


@pytest.mark.parametrize("by_file", [False, True], ids=["the button", "a file's field"])
def test_stop_has_the_keyboard_during_a_run_and_gives_it_back(
    widget: GradeWidget, qtbot, active, monkeypatch, press_key, by_file: bool
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
    assert QApplication.focusWidget() is widget.stop.native
    qtbot.keyClick(widget.stop.native, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: not widget.run.running, timeout=PATIENCE_MS)
    assert QApplication.focusWidget() is before


@pytest.mark.slow
def test_so_it_is_in_show_attention(open_inspector: Opening, active, undoubted, qtbot) -> None:
    panel = open_inspector()
    panel.inspect.native.setFocus()
    qtbot.keyClick(panel.inspect.native, Qt.Key.Key_Space)
    assert QApplication.focusWidget() is panel.stop.native
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)
    assert QApplication.focusWidget() is panel.inspect.native


def test_who_has_gone_elsewhere_meanwhile_is_left_there(viewer, qtbot, active) -> None:
    file, stop, other = FileEdit(), PushButton(text="Stop", enabled=False), PushButton(text="other")
    panel = Container(widgets=[file, stop, other])
    viewer.window.add_dock_widget(panel, name="fields")
    keyboard = KeyboardKept(panel.native, stop.native)

    def set_busy(busy: bool) -> None:
        with keyboard.kept():
            file.enabled, stop.enabled = not busy, busy

    file.line_edit.native.setFocus()
    set_busy(True)
    assert QApplication.focusWidget() is stop.native
    other.native.setFocus()
    set_busy(False)
    assert QApplication.focusWidget() is other.native
