"""The IHC of an H&E slide, where the two slides' layers lie over each other in a window."""

from __future__ import annotations

import napari.layers

from napari_hmkd.alignment import Alignment, Method
from napari_hmkd.errors import SlideError
from napari_hmkd.inspection.pair import AlignedIhc
from napari_hmkd.widgets.aligned_layers import LayerPair, he_to_ihc


def aligned_ihc(
    he_layer: napari.layers.Image, ihc_layer: napari.layers.Image, refine: bool
) -> AlignedIhc:
    """The IHC as its layer lies over the H&E's now.

    Parameters
    ----------
    he_layer, ihc_layer : napari.layers.Image
        Layers of two slides. The IHC's may be moved, turned and scaled to lie over the H&E.
    refine : bool
        As `AlignedIhc` takes it.

    Raises
    ------
    SlideError
        If both are the same slide.
    AlignmentError
        If the IHC lies mirrored, or scaled as no tissue is.
    PixelSizeError
        If a slide's pixel size is unknown.
    """
    pair = LayerPair(he_layer, ihc_layer)
    he, ihc = pair.slides
    if he.reader is ihc.reader:
        raise SlideError(
            f"asked to read IHC beside {he.name}, but that is the H&E slide itself: choose the IHC's layer"
        )
    # It is made anew at every move of the mouse and never saved: the slides' bytes are not looked at.
    sizes = he.require_mpp(), ihc.require_mpp()
    return AlignedIhc(ihc, Alignment(he_to_ihc(pair), Method.GIVEN, "", "", *sizes), refine)
