"""The status bar says what is known about the tile under the cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

import napari.layers
import numpy as np
import numpy.typing as npt

from napari_hmkd.heatmap import Heatmap

Value = Callable[[napari.layers.Image, npt.ArrayLike, str], str]
"""What to say of a layer at a world position, given what napari would say."""


def tell_tile(layer: napari.layers.Image, heatmap: Heatmap) -> None:
    """Have a heatmap's layer answer with grade and probabilities where napari asks for its value."""

    def value(own: napari.layers.Image, position: npt.ArrayLike, said: str) -> str:
        square = _square_at(own, heatmap, position)
        return said if square is None else heatmap.describe(square)

    _tell(layer, value)


def leave_out_nan(layer: napari.layers.Image) -> None:
    """Have a layer say nothing where it has no value."""
    _tell(layer, lambda _own, _position, said: "" if said == "nan" else said)


def _tell(layer: napari.layers.Image, value: Value) -> None:
    plain = type(layer).get_status
    seen = ref(layer)

    def get_status(position: npt.ArrayLike | None = None, **options: Any) -> dict[str, str]:
        own = seen()
        if own is None:
            return {}
        status: dict[str, str] = plain(own, position, **options)
        if position is not None:
            status["value"] = value(own, position, status["value"])
            status["coordinates"] = f"{status.get('coords', '')}: {status['value']}"
        return status

    layer.get_status = get_status


def _square_at(
    layer: napari.layers.Image, heatmap: Heatmap, world: npt.ArrayLike
) -> tuple[int, int] | None:
    """The heatmap's pixel at a world position, which may be cut into finer ones in the layer."""
    shape = heatmap.probabilities.shape[:2]
    cells = np.array(layer.data.shape) / shape
    row, column = np.floor((np.asarray(layer.world_to_data(world))[-2:] + 0.5) / cells).astype(int)
    inside = 0 <= row < shape[0] and 0 <= column < shape[1]
    return (int(row), int(column)) if inside else None
