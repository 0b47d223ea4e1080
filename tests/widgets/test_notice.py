"""What labels of panels show."""

from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from magicgui.widgets import Label
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QApplication, QLabel

from napari_hmkd.widgets.notice import wrap

pytestmark = pytest.mark.gui
TAGGED = "a<b>c</b> & <i>1.svs"


def seen(label: QLabel) -> QImage:
    label.setFixedSize(400, 60)
    return label.grab().toImage()


@pytest.mark.parametrize("text_format", [Qt.TextFormat.PlainText, Qt.TextFormat.RichText])
def test_what_looks_like_tags_is_shown_unless_they_are_ours(
    qtbot, text_format: Qt.TextFormat
) -> None:
    label, wanted = Label(value=f"{TAGGED}: graded"), QLabel(f"{TAGGED}: graded")
    for one in (label.native, wanted):
        qtbot.addWidget(one)
    wanted.setTextFormat(text_format)
    wanted.setWordWrap(True)
    ours = text_format == Qt.TextFormat.RichText
    wrap(label, text_format) if ours else wrap(label)
    assert seen(label.native) == seen(wanted)


def test_a_path_in_a_panel_can_be_copied(qtbot) -> None:
    label = Label(value="results")
    wrap(label)
    qtbot.addWidget(label.native)
    label.native.resize(400, 60)
    label.native.show()
    place = label.native.rect().topLeft() + QPoint(15, 30)
    qtbot.mouseDClick(label.native, Qt.MouseButton.LeftButton, pos=place)
    assert label.native.selectedText() == "results"
    qtbot.keyClick(label.native, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QApplication.clipboard().text() == "results"
