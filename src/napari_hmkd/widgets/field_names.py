"""The names of fields for screen readers: magicgui shows a label beside a field, and does not tie it to that."""

from __future__ import annotations

from collections.abc import Iterable

from magicgui.widgets import Container, FileEdit
from magicgui.widgets.bases import ButtonWidget, Widget
from qtpy.QtWidgets import QWidget


def name_fields(fields: Iterable[Widget]) -> None:
    """Give fields, and those in containers among them, the names of their labels; buttons have their own.

    Parameters
    ----------
    fields : iterable of magicgui widgets
        A container is one.
    """
    for field in fields:
        if isinstance(field, FileEdit):
            field.line_edit.native.setAccessibleName(field.label)
            button = field.choose_btn
            button.native.setAccessibleName(f"{field.label}: {button.text}")
        elif isinstance(field, Container):
            name_fields(field)
        elif not isinstance(field, ButtonWidget) and field.label.strip():
            for part in (field.native, *field.native.findChildren(QWidget)):
                part.setAccessibleName(field.label)
