"""Where the layers of an H&E slide and of its IHC lie over each other in a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from weakref import ref

import napari.layers
import napari.viewer
import numpy as np

from napari_hmkd.alignment import Alignment
from napari_hmkd.slide import Slide
from napari_hmkd.widgets.viewing import px_to_world, require_slide

_SAME = 1e-6  # in um, and so in 100 mm of a slide that is turned by it 0.1 um


class LayerPair(NamedTuple):
    """The layers of two slides."""

    he: napari.layers.Image
    ihc: napari.layers.Image

    @property
    def slides(self) -> tuple[Slide, Slide]:
        """The open slides of both."""
        return require_slide(self.he), require_slide(self.ihc)


def he_to_ihc(pair: LayerPair) -> np.ndarray:
    """The `Alignment.affine` that says how two layers lie over each other now: float64 (3, 3).

    Raises
    ------
    PixelSizeError
        If a slide's pixel size is unknown.
    """
    he, ihc = (_um_to_world(layer) for layer in pair)
    return np.linalg.solve(ihc, he)


class AlignedLayers:
    """Lays IHC layers over H&E layers by alignments, and takes it back.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = viewer
        self._moves: list[_Move] = []

    def apply(self, pair: LayerPair, alignment: Alignment) -> None:
        """Have the IHC lie over the H&E, wherever that is; it alone is moved, by its `affine`.

        Raises
        ------
        PixelSizeError
            If a slide's pixel size is unknown.
        """
        before = pair.ihc.affine.affine_matrix.copy()
        own = np.linalg.solve(before, _um_to_world(pair.ihc))
        target = _um_to_world(pair.he) @ np.linalg.inv(alignment.affine)
        pair.ihc.affine = target @ np.linalg.inv(own)
        self._moves.append(_Move(ref(pair.he), ref(pair.ihc), alignment, before))

    def undo(self) -> napari.layers.Image | None:
        """Put the layer that was moved last back to where it lay; None where none is left to be."""
        while self._moves:
            move = self._moves.pop()
            layer = move.ihc()
            if layer is not None and layer in self._viewer.layers:
                layer.affine = move.before
                return layer
        return None

    def alignment_of(self, pair: LayerPair) -> Alignment | None:
        """The alignment by which two layers lie as they do now, None where they were moved otherwise.

        Raises
        ------
        PixelSizeError
            If a slide's pixel size is unknown.
        """
        now = he_to_ihc(pair)
        for move in reversed(self._moves):
            same_pair = move.he() is pair.he and move.ihc() is pair.ihc
            if same_pair and np.allclose(move.alignment.affine, now, rtol=0, atol=_SAME):
                return move.alignment
        return None

    def lift(self, pair: LayerPair) -> None:
        """Have the IHC drawn over the H&E."""
        layers = self._viewer.layers
        he, ihc = layers.index(pair.he), layers.index(pair.ihc)
        if ihc < he:
            layers.move(ihc, he + 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Move:
    he: ref[napari.layers.Image]
    ihc: ref[napari.layers.Image]
    alignment: Alignment
    before: np.ndarray


def _um_to_world(layer: napari.layers.Image) -> np.ndarray:
    """From (y, x, 1) in um from the top left corner of a slide to its layer's world: float64 (3, 3).

    napari puts 0 at the middle of the first pixel: hence half a pixel.
    """
    to_px = np.diag([*np.reciprocal(require_slide(layer).require_mpp()), 1])
    to_px[:2, 2] = -0.5
    return px_to_world(layer) @ to_px
