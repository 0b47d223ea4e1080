"""Tables and fields to type in, which napari's setting of the font size leaves out."""

from __future__ import annotations

from weakref import ref

from napari.settings import get_settings
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


def follow_font_size(content: QWidget) -> None:
    """Have the texts in a panel at least as large as napari's, from now on.

    Parameters
    ----------
    content : QWidget
        What is in it by now.
    """
    appearance, its_content = get_settings().appearance, ref(content)

    def resize(_event: object = None) -> None:
        if (content := its_content()) is not None:
            points = max(int(appearance.font_size), QApplication.font().pointSize())
            for text in filter(_is_left_out, content.findChildren(QWidget)):
                font = text.font()
                font.setPointSize(points)
                text.setFont(font)

    def leave(_content: object = None) -> None:
        appearance.events.font_size.disconnect(resize)

    resize()
    appearance.events.font_size.connect(resize)
    content.destroyed.connect(leave)


def _is_left_out(text: QWidget) -> bool:
    if not isinstance(text, _LEFT_OUT):
        return False
    above = text.parentWidget()
    while above is not None and not isinstance(above, _OF_OTHERS):
        above = above.parentWidget()
    return above is None
