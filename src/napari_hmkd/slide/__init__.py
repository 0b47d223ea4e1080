"""Whole slides: opening, reading at any pixel size, lazy pyramids, tissue, stain."""

from napari_hmkd.slide.backend import Level
from napari_hmkd.slide.pyramid import pyramid
from napari_hmkd.slide.slide import Slide, open_slide
from napari_hmkd.slide.stain import StainCheck, StainKind, check_stain
from napari_hmkd.slide.tissue import TissueMask, find_tissue

__all__ = [
    "Level",
    "Slide",
    "StainCheck",
    "StainKind",
    "TissueMask",
    "check_stain",
    "find_tissue",
    "open_slide",
    "pyramid",
]
