"""The status bar says what is known about the tile under the cursor."""

from __future__ import annotations

from typing import Any
from weakref import ref

import napari.layers
import numpy.typing as npt

from napari_hmkd.grading import SlideGrading
from napari_hmkd.widgets.viewing import to_level0


def tell_tile(
    layer: napari.layers.Image, slide_layer: napari.layers.Image, grading: SlideGrading
) -> None:
    """Have a heatmap's layer answer with grade and probabilities where napari asks for its value."""
    plain = type(layer).get_status
    heatmap_layer, below = ref(layer), ref(slide_layer)

    def get_status(position: npt.ArrayLike | None = None, **options: Any) -> dict[str, str]:
        own, slide = heatmap_layer(), below()
        if own is None:
            return {}
        status: dict[str, str] = plain(own, position, **options)
        if position is None or slide is None:
            return status
        tile = grading.plan.grid.tile_at(*to_level0(slide, tuple(position)))  # type: ignore[arg-type]
        if tile is not None:
            status["value"] = grading.heatmap.describe(tile)
            status["coordinates"] = f"{status.get('coords', '')}: {status['value']}"
        return status

    layer.get_status = get_status
