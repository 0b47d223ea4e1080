"""Alignments found, read and written in the background of a window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from psygnal import Signal

from napari_hmkd.alignment import (
    Alignment,
    align_automatically,
    align_by_landmarks,
    align_by_matrix,
    load_alignment,
    save_alignment,
)
from napari_hmkd.slide import Slide
from napari_hmkd.widgets.aligned_layers import LayerPair
from napari_hmkd.widgets.background import BackgroundRun


class AlignmentRun(BackgroundRun):
    """Does one thing at a time with the alignment of two slides.

    Signals
    -------
    found(LayerPair, Alignment)
        The layers are those that were asked for; they may have been removed meanwhile.
    saved(file)
    """

    found = Signal(LayerPair, Alignment)
    saved = Signal(Path)

    def __init__(self) -> None:
        super().__init__()
        self._pair: LayerPair | None = None

    def find(self, pair: LayerPair) -> None:
        """Align two slides automatically."""
        self._start(pair, "aligning the slides", align_automatically, *pair.slides)

    def fit(self, pair: LayerPair, he_um: np.ndarray, ihc_um: np.ndarray) -> None:
        """Align two slides by landmarks, as `align_by_landmarks` takes them."""
        self._start(pair, "aligning by landmarks", align_by_landmarks, *pair.slides, he_um, ihc_um)

    def load(self, pair: LayerPair, file: Path) -> None:
        """Read the alignment of two slides."""
        self._start(pair, f"reading {file}", load_alignment, file, *pair.slides)

    def save(self, pair: LayerPair, file: Path, alignment: Alignment | np.ndarray) -> None:
        """Write the alignment of two slides, or the matrix of one, as `Alignment.affine`."""
        self._start(pair, f"writing {file}", _save, file, *pair.slides, alignment)

    def ignore(self) -> None:
        """End what is under way; the search itself goes on to its end, unheard."""
        self.close()
        self._pair = None
        self.ended.emit(False)

    def _start(
        self, pair: LayerPair, what: str, work: Callable[..., object], *args: object
    ) -> None:
        self._pair = pair
        self._begin_once(what, work, *args)

    def _on_step(self, step: Alignment | Path) -> None:
        pair, self._pair = self._pair, None  # which closes with its layers
        if isinstance(step, Path):
            self.saved.emit(step)
        elif pair is not None:
            self.found.emit(pair, step)

    def _on_finished(self) -> None:
        self._pair = None
        super()._on_finished()


def _save(file: Path, he: Slide, ihc: Slide, alignment: Alignment | np.ndarray) -> Path:
    if isinstance(alignment, np.ndarray):
        alignment = align_by_matrix(he, ihc, alignment)
    save_alignment(file, alignment)
    return file
