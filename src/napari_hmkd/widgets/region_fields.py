"""The fields with which a panel has regions marked on its slide, and keeps inside them."""

from __future__ import annotations

import napari.viewer
from magicgui.widgets import CheckBox, PushButton
from psygnal import Signal

from napari_hmkd.regions import MarkedRegion
from napari_hmkd.widgets.region_layers import add_region_layer, marked_regions
from napari_hmkd.widgets.slide_choice import NO_SLIDE, SlideChoice

_HOW = "Draw round the region; a double click ends the polygon. The layer's name is the region's"


class RegionFields:
    """Fields to be laid out in a panel.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    slide : SlideChoice
        Whose regions they are.
    name : str
        What a region is called until its layer is renamed.
    purpose : str
        What a name is good for, to be told when a region is to be drawn; a sentence's second half.

    Attributes
    ----------
    mark : PushButton
        Adds a layer to draw in.
    only : CheckBox
        Whether to keep inside what is marked.

    Signals
    -------
    said(message)
        What the user is to know.
    """

    said = Signal(str)

    def __init__(
        self, viewer: napari.viewer.Viewer, slide: SlideChoice, name: str, purpose: str = ""
    ) -> None:
        self._viewer, self._slide = viewer, slide
        self._name, self._purpose = name, purpose
        self.mark = PushButton(text="Mark a region")
        self.only = CheckBox(text="Only inside marked regions")
        self.only.tooltip = "From now on; what was found before stays."
        self.mark.clicked.connect(self.add)

    def add(self) -> None:
        """Add a layer to draw a region in, as the button does."""
        if self._slide.value is None:
            self.said.emit(NO_SLIDE)
            return
        add_region_layer(self._viewer, self._slide.value, self._name)
        self.said.emit(": ".join(filter(None, (_HOW, self._purpose))) + ".")

    def marked(self) -> tuple[MarkedRegion, ...]:
        """What is marked on the slide now, in its level-0 px; there has to be a slide."""
        return marked_regions(self._viewer, self._slide.value)
