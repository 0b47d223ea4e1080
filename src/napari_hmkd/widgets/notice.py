"""The words that stay on screen with every result."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from textwrap import fill
from typing import Any

import napari.viewer
from magicgui.widgets import ComboBox, Label
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QComboBox, QSizePolicy

from napari_hmkd.map_modes import IN_GRADE_COLOURS, MapMode
from napari_hmkd.palette import GRADE_COLOURS
from napari_hmkd.widgets.viewing import noted

_LINE = 44  # letters that fit a narrow canvas
_SHORT = 20  # letters of a name that are seen in any panel
BY_AREA = "By area of tiles, not by cells: not an ASCO/CAP score. Research use only."


def show_notice(viewer: napari.viewer.Viewer, notice: str) -> None:
    """Write a model's notice permanently on the canvas; a model without one clears it."""
    overlay = text_overlay(viewer)
    overlay.text, overlay.position = fill(notice, _LINE), "top_center"
    overlay.color, overlay.font_size, overlay.visible = "#d7191c", 12, bool(notice)


def withdraw_notice(viewer: napari.viewer.Viewer, notice: str) -> None:
    """Take a notice off the canvas that came before results, where none came: of no layer is one."""
    kept = any("notice" in noted(layer) for layer in viewer.layers)
    if text_overlay(viewer).text == fill(notice, _LINE) and not kept:
        show_notice(viewer, "")


def text_overlay(viewer: napari.viewer.Viewer) -> Any:
    """The canvas's text, which napari 0.9 moved."""
    canvas = getattr(viewer, "canvas", None)
    return viewer.text_overlay if canvas is None else canvas.overlays.text


def wrap(label: Label, text_format: Qt.TextFormat = Qt.TextFormat.PlainText) -> None:
    """Break a label's lines, have it as wide as its panel, and let its text be copied.

    Long words must not widen the panel.

    Its text is plain, unless told otherwise: Qt would take "<b>" in a slide's name for a tag, and hide it.
    """
    label.native.setTextFormat(text_format)
    label.native.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.native.setWordWrap(True)
    label.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)


def keep_narrow(choice: ComboBox) -> None:
    """Let a choice get narrower than its names, which would make the panel as wide: they are cut then.

    The whole name of the one that is chosen is its tooltip.
    """
    box = choice.native
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(_SHORT)
    # Names of slides differ at either end.
    box.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)
    box.installEventFilter(_WholeName(box))


class _WholeName(QObject):
    """Shows a box's whole text as its tooltip."""

    def eventFilter(self, box: QObject, event: QEvent) -> bool:
        """Bring the tooltip up to date just before it is shown: magicgui renames choices silently."""
        if event.type() == QEvent.Type.ToolTip:
            box.setToolTip(f"<p>{escape(box.currentText())}</p>")
        return False


def tell(label: Label, text: str) -> None:
    """Have a label say something, or with nothing to say take no room."""
    label.value, label.visible = text, bool(text)


def legend_html(class_names: tuple[str, ...], area_mm2: Sequence[float], mode: MapMode) -> str:
    """What the colours of a map mean, with the area of each grade, as rich text."""
    if mode not in IN_GRADE_COLOURS:
        return f"{escape(mode)}: 0 is dark violet, 1 is yellow"
    squares = (
        f'<span style="color:{colour}">&#9632;</span>&nbsp;{escape(name)}&nbsp;{area:.1f}&nbsp;mm&sup2;'
        for colour, name, area in zip(GRADE_COLOURS, class_names, area_mm2, strict=True)
    )
    return "&nbsp; ".join(squares)
