"""Tables and fields to type in, which napari's setting of the font size leaves out."""

from __future__ import annotations

from napari.settings import get_settings
from qtpy.QtCore import QObject
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

_LEFT_OUT = (QAbstractItemView, QLineEdit, QPlainTextEdit, QTextEdit)
_OF_OTHERS = (QAbstractSpinBox, QComboBox)  # their lines and lists are as large as they


class FontSize(QObject):
    """Has the texts in a panel at least as large as napari's, from now on and for as long as there is the panel.

    napari knows it weakly. It hears of no `destroyed`: where Python's garbage collector takes a panel, a
    function that was connected to that can be gone already, and the process ends.

    Parameters
    ----------
    content : QWidget
        What has the texts.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__(content)
        self._content = content
        self._appearance = get_settings().appearance
        self._appearance.events.font_size.connect(self._resize)
        self._resize()

    def _resize(self, _event: object = None) -> None:
        points = max(int(self._appearance.font_size), QApplication.font().pointSize())
        for text in filter(_is_left_out, self._content.findChildren(QWidget)):
            font = text.font()
            font.setPointSize(points)
            text.setFont(font)


def _is_left_out(text: QWidget) -> bool:
    if not isinstance(text, _LEFT_OUT):
        return False
    above = text.parentWidget()
    while above is not None and not isinstance(above, _OF_OTHERS):
        above = above.parentWidget()
    return above is None
