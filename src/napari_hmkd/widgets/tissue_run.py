"""A slide's tissue as a layer to paint in: found in the background, read back for grading."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from threading import Thread
from typing import Any

import napari.layers
import napari.viewer
import numpy as np
from psygnal import Signal

from napari_hmkd.layers import tissue_layer
from napari_hmkd.slide import Slide, TissueMask
from napari_hmkd.slide.contents.examined import tissue_found
from napari_hmkd.widgets.background import BackgroundRun
from napari_hmkd.widgets.overlay import lay_over
from napari_hmkd.widgets.viewing import add_above, noted, require_slide


class TissueRun(BackgroundRun):
    """Finds the tissue of one slide layer at a time and keeps one tissue layer for each slide.

    The layer is the user's: what is painted and erased in it counts, and if it is removed, the tissue
    is to be found again.

    Signals
    -------
    found(TissueMask)
    """

    found = Signal(object)

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._slide_layer: napari.layers.Image | None = None
        self._waiting: tuple[napari.layers.Image, TissueMask] | None = None
        # napari loads it with the first layer of labels, and holds the window for that.
        Thread(target=import_module, args=("pandas",), daemon=True).start()

    def find(self, slide_layer: napari.layers.Image) -> None:
        """Show what is found to be tissue of a slide layer; does nothing while a search runs."""
        if self.running:
            return
        self._slide_layer, slide = slide_layer, require_slide(slide_layer)
        self._begin_once(f"finding the tissue of {slide.name}", tissue_found, slide)

    def layer_of(self, slide: Slide) -> napari.layers.Labels | None:
        """The tissue layer of a slide, None where there is none."""
        of_slide = (one for one in self._viewer.layers if noted(one).get("tissue_of") == slide.path)
        return next(of_slide, None)

    def mask_of(self, slide: Slide) -> TissueMask | None:
        """The tissue of a slide as its layer shows it now, None where there is no layer."""
        layer = self.layer_of(slide)
        if layer is None:
            return None
        found: TissueMask = noted(layer)["tissue"]
        painted = np.asarray(layer.data) != 0
        if np.array_equal(painted, found.mask):
            return found
        return replace(found, mask=painted, edited=True)

    def show(self, slide_layer: napari.layers.Image, tissue: TissueMask) -> napari.layers.Labels:
        """Draw a mask over its slide, in the place of an older one."""
        slide = require_slide(slide_layer)
        one = tissue_layer(slide, tissue)
        layer = self.layer_of(slide)
        if layer is None:
            layer = add_above(self._viewer, slide_layer, one)
            layer.contour = 1  # an outline leaves the stain its colours
        else:
            layer.data = one[0]
            _place(layer, one[1])
        lay_over(layer, slide_layer)
        return layer

    def show_later(self, slide_layer: napari.layers.Image, tissue: TissueMask) -> None:
        """Keep a mask for `show_waiting`: drawing one holds the window."""
        self._waiting = slide_layer, tissue

    def show_waiting(self) -> None:
        """Draw the mask that waits, where its slide is still there and has no other."""
        if self._waiting is None:
            return
        (slide_layer, tissue), self._waiting = self._waiting, None
        shown = self.layer_of(require_slide(slide_layer)) is not None
        if slide_layer in self._viewer.layers and not shown:
            self.show(slide_layer, tissue)

    def close(self) -> None:
        """End everything, and draw nothing any more."""
        super().close()
        self._waiting = None

    def follow_pixel_size(self, slide_layer: napari.layers.Image) -> None:
        """Bring a slide's tissue layer to the pixel size that the user has stated for the slide."""
        slide = require_slide(slide_layer)
        if (layer := self.layer_of(slide)) is None:
            return
        found: TissueMask = noted(layer)["tissue"]
        own_y, own_x = slide.require_mpp()
        step_y, step_x = found.downsample
        _place(layer, tissue_layer(slide, replace(found, mpp=(own_y * step_y, own_x * step_x)))[1])
        lay_over(layer, slide_layer)

    def _on_step(self, tissue: TissueMask) -> None:
        slide_layer, self._slide_layer = self._slide_layer, None  # which closes with its slide
        if slide_layer not in self._viewer.layers:
            self.failed.emit("The slide's layer was removed: its tissue is not shown.")
            return
        self._viewer.layers.selection.active = self.show(slide_layer, tissue)
        self.found.emit(tissue)


def same_tissue(one: TissueMask | None, other: TissueMask | None) -> bool:
    """Whether two masks of a slide leave the same tiles to grade."""
    if one is None or other is None:
        return one is other
    return one.downsample == other.downsample and np.array_equal(one.mask, other.mask)


def _place(layer: napari.layers.Layer, kwargs: dict[str, Any]) -> None:
    for name in ("scale", "translate", "units", "metadata"):
        setattr(layer, name, kwargs[name])
