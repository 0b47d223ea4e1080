"""Whole slides: opening, reading at any pixel size, lazy pyramids, tissue."""

from napari_hmkd.slide.backend import Level
from napari_hmkd.slide.pyramid import pyramid
from napari_hmkd.slide.slide import Slide, open_slide
from napari_hmkd.slide.tissue import TissueMask, find_tissue

__all__ = ["Level", "Slide", "TissueMask", "find_tissue", "open_slide", "pyramid"]
