"""Laying an IHC slide over its H&E slide, and reading it through that."""

from napari_hmkd.alignment.alignment import Alignment, Method, align_by_matrix
from napari_hmkd.alignment.automatic import align_automatically
from napari_hmkd.alignment.doubting import doubt_alignment
from napari_hmkd.alignment.files import load_alignment, save_alignment
from napari_hmkd.alignment.landmarks import align_by_landmarks, residuals_um
from napari_hmkd.alignment.reading import read_ihc_tile
from napari_hmkd.alignment.refining import refine_at

__all__ = [
    "Alignment",
    "Method",
    "align_automatically",
    "align_by_landmarks",
    "align_by_matrix",
    "doubt_alignment",
    "load_alignment",
    "read_ihc_tile",
    "refine_at",
    "residuals_um",
    "save_alignment",
]
