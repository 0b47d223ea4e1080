"""The probabilities of a slide's biomarkers as a small table of text."""

from __future__ import annotations

import math

from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QTextBrowser


class NumbersView(QTextBrowser):
    """Text that is never cut, as the panel around it scrolls, and can be copied. Hidden while empty."""

    def __init__(self) -> None:
        super().__init__()
        self.setTabChangesFocus(True)
        self.setAccessibleName("probabilities of each status")
        self.hide()

    def show_html(self, html: str) -> None:
        """Show rich text, nothing for an empty one."""
        self.setHtml(html)
        self.setVisible(bool(html))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width breaks other lines."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setFixedHeight(math.ceil(self.document().size().height()) + 2 * self.frameWidth())
