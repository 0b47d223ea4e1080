"""The IHC of an H&E tile, read from where the two slides' layers lie over each other in a window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import napari.layers
import numpy as np

from napari_hmkd.alignment import Alignment, Method, read_ihc_tile
from napari_hmkd.errors import SlideError
from napari_hmkd.slide import Slide
from napari_hmkd.tiling import TileGrid
from napari_hmkd.widgets.aligned_layers import LayerPair, he_to_ihc


@dataclass(frozen=True, slots=True, eq=False)
class IhcReader:
    """Reads tiles of an H&E slide on its IHC slide, as the layers lay when it was made.

    Attributes
    ----------
    slide : Slide
        The IHC.
    grid : TileGrid
        The H&E slide's tiles.
    alignment : Alignment
    """

    slide: Slide
    grid: TileGrid
    alignment: Alignment

    @property
    def placement(self) -> tuple[float, ...]:
        """The six numbers of the affine's rows, (y, x) in um: equal where the layers lie alike."""
        return tuple(self.alignment.affine[:2].ravel().tolist())

    def __call__(self, tile: tuple[int, int]) -> np.ndarray:
        """Pixels of a tile on the IHC: uint8 (tile_px, tile_px, 3), white outside.

        Raises
        ------
        SlideReadError
            The file is damaged there, or does not answer.
        PixelSizeError
            The IHC is too coarse.
        """
        grid = self.grid
        y, x = grid.origins(tile)[0].tolist()
        read = partial(
            read_ihc_tile, self.slide, self.alignment, (y, x), grid.slide_mpp, grid.tile_px, grid.model_mpp
        )  # fmt: skip
        return self.slide.in_time(read)


def ihc_reader(
    he_layer: napari.layers.Image, ihc_layer: napari.layers.Image, grid: TileGrid
) -> IhcReader:
    """Read the IHC where its layer lies over the H&E's tiles now; from any thread.

    Parameters
    ----------
    he_layer, ihc_layer : napari.layers.Image
        Layers of two slides. The IHC's may be moved, turned and scaled to lie over the H&E.
    grid : TileGrid
        The H&E slide's tiles.

    Raises
    ------
    SlideError
        If both are the same slide.
    AlignmentError
        If the IHC lies mirrored, or scaled as no tissue is.
    PixelSizeError
        If the IHC's pixel size is unknown.
    """
    pair = LayerPair(he_layer, ihc_layer)
    he, ihc = pair.slides
    if he.reader is ihc.reader:
        raise SlideError(
            f"asked to read IHC beside {he.name}, but that is the H&E slide itself: choose the IHC's layer"
        )
    # It is made anew at every move of the mouse and never saved: the slides' bytes are not looked at.
    sizes = he.require_mpp(), ihc.require_mpp()
    alignment = Alignment(he_to_ihc(pair), Method.GIVEN, "", "", *sizes)
    return IhcReader(ihc, grid, alignment)
