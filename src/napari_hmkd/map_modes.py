"""What a heatmap can show of its squares, one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hmkd.palette import GRADE_COLOURS, colourise

if TYPE_CHECKING:  # opening a slide must not wait for torch to load
    from napari_hmkd.heatmap import Heatmap

GRADES = len(GRADE_COLOURS)
GRADE_LIMITS = (0.0, GRADES - 1.0)


class MapMode(StrEnum):
    """The kinds of map."""

    EXPECTED = "expected grade"
    FINER = "expected grade, finer"
    GRADE = "most probable grade"
    P_0 = "probability of 0"
    P_1 = "probability of 1+"
    P_2 = "probability of 2+"
    P_3 = "probability of 3+"
    ENTROPY = "entropy"


IN_GRADE_COLOURS = (MapMode.EXPECTED, MapMode.FINER, MapMode.GRADE)
"""Modes whose colours are the grades'; those of the others go from 0 to 1."""

_PROBABILITIES = (MapMode.P_0, MapMode.P_1, MapMode.P_2, MapMode.P_3)


@dataclass(frozen=True, eq=False)
class TileMap:
    """Numbers to be drawn over a slide.

    Attributes
    ----------
    values : numpy.ndarray
        float32 (rows k, columns k), NaN where there is nothing to show.
    cells : int
        k, how many of them make up a square's side.
    limits : tuple of float
        The least and the greatest that can be.
    colormap : dict or str
        `grade_colormap`, or the name of one of matplotlib's.
    """

    values: np.ndarray
    cells: int
    limits: tuple[float, float]
    colormap: dict[str, Any] | str


def grade_colormap() -> dict[str, Any]:
    """Colours of grades, as napari takes them."""
    return {"name": "HER2 grade", "colors": colourise(np.arange(GRADES))}


def tile_map(heatmap: Heatmap, mode: MapMode = MapMode.EXPECTED) -> TileMap:
    """One kind of map of a heatmap of the moment.

    The finer map shows the squares' cells (`Heatmap.finer_probabilities`), or the squares where there
    are none.
    """
    if mode in _PROBABILITIES:
        values = heatmap.probabilities[..., _PROBABILITIES.index(mode)]
        return TileMap(values, 1, (0.0, 1.0), "viridis")
    if mode is MapMode.ENTROPY:
        return TileMap(heatmap.entropy, 1, (0.0, 1.0), "viridis")
    values, cells = heatmap.expected_grade, 1
    if mode is MapMode.GRADE:
        values = np.where(heatmap.graded, heatmap.grade, np.nan).astype(np.float32)
    elif mode is MapMode.FINER and (finer := heatmap.finer_probabilities) is not None:
        values = finer @ np.arange(GRADES, dtype=np.float32)
        cells = len(finer) // len(heatmap.probabilities)
    return TileMap(values, cells, GRADE_LIMITS, grade_colormap())
