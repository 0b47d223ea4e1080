"""The offer to let napari load tiles in the background."""

from __future__ import annotations

from magicgui.widgets import PushButton
from napari.settings import get_settings
from qtpy import PYSIDE6

WITH_PYSIDE6 = "with PySide6, that can hang or end napari"
"""By the way in which superqt hands results of threads to the window; it cannot be mended here."""


class AsyncOffer(PushButton):
    """A button that switches napari's async slicing on; hidden while it is on.

    napari's own setting, off by default: without it each tile that is read blocks the window.
    """

    def __init__(self) -> None:
        self._setting = get_settings().experimental
        advice = WITH_PYSIDE6 if PYSIDE6 else "recommended"
        super().__init__(
            text=f"Load tiles in the background ({advice})",
            tooltip="napari's setting 'async': the window stays live while tiles are read.",
            visible=False if self._setting.async_ else None,
        )
        self.clicked.connect(self._switch_on)
        self._setting.events.async_.connect(self._follow)
        self.native.destroyed.connect(self._on_destroyed)

    def _switch_on(self) -> None:
        self._setting.async_ = True

    def _follow(self, _event: object = None) -> None:
        self.visible = not self._setting.async_

    def _on_destroyed(self, _widget: object = None) -> None:
        self._setting.events.async_.disconnect(self._follow)
