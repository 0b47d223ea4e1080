"""Whole slides: opening, reading at any pixel size, lazy pyramids, tissue, stain."""

from napari_hmkd.slide.backends.protocol import Level
from napari_hmkd.slide.contents.stain import StainCheck, StainKind, check_stain
from napari_hmkd.slide.contents.tissue import TissueMask, find_tissue
from napari_hmkd.slide.pyramid import pyramid
from napari_hmkd.slide.slide import Slide, open_slide

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
