"""The box that gives the IHC a pane of its own, in every panel that has one."""

from __future__ import annotations

import napari.viewer
from magicgui.widgets import CheckBox

from napari_hmkd.widgets.side_by_side import side_by_side
from napari_hmkd.widgets.slide_choice import SlideChoice


class SideBySideChoice(CheckBox):
    """Whether the chosen IHC has a pane of its own, from whichever panel it was given one.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    ihc : SlideChoice
        The panel's IHC. Where another is chosen while it has the pane, that one takes it.

    Attributes
    ----------
    panes : SideBySide
        The window's.
    """

    def __init__(self, viewer: napari.viewer.Viewer, ihc: SlideChoice) -> None:
        super().__init__(text="Side by side with the IHC")
        self.panes, self._ihc = side_by_side(viewer), ihc
        self.panes.enter(self)
        self._refresh()
        self.changed.connect(self._on_switched)
        self.panes.changed.connect(self._refresh)
        ihc.changed.connect(self._on_ihc_chosen)
        self.native.destroyed.connect(self._on_destroyed)

    def leave(self) -> None:
        """Nobody sees the box any more; the panes stay for as long as another panel has one."""
        self.panes.leave(self)

    def _on_switched(self, on: bool) -> None:
        self.panes.enter(self)
        if on and self._ihc.value is not None:
            self._ihc.value.visible = True  # the sample's is hidden at first
            self.panes.begin(self._ihc.value)
        else:
            self.panes.end()

    def _on_ihc_chosen(self, _layer: object = None) -> None:
        if self.value:
            self._on_switched(True)
        self._refresh()

    def _on_destroyed(self, _widget: object = None) -> None:
        self.panes.changed.disconnect(self._refresh)

    def _refresh(self) -> None:
        layer = self._ihc.value
        self.enabled = layer is not None
        with self.changed.blocked():
            self.value = layer is not None and self.panes.shows(layer)
