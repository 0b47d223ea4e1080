"""A slide in a figure: what lies over it has its place in mm."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from napari_hmkd.export.overview import draw_overview
from napari_hmkd.geometry import Size
from napari_hmkd.tiling import TileGrid


def test_tiles_and_numbers_lie_where_they_are_on_the_slide() -> None:
    grid = TileGrid(Size(1000, 3000), (2.0, 0.5), 256, 1.0)  # tiles of 128 x 512 px
    axes = Figure().subplots()
    places_px = [(100, 1000), (900, 10)]
    values = np.zeros((grid.rows, grid.columns))
    draw_overview(axes, np.zeros((20, 15, 3), np.uint8), grid, places_px, values, "attention")
    slide, tiles = axes.images
    # Left, right, bottom and top; the last tiles reach beyond the slide.
    assert slide.get_extent() == pytest.approx((0, 1.5, 2.0, 0))
    assert tiles.get_extent() == pytest.approx((0, 6 * 0.256, 8 * 0.256, 0))
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 1.5), (2.0, 0))
    assert [one.get_text() for one in axes.texts] == ["1", "2"]
    np.testing.assert_allclose(
        [one.get_position() for one in axes.texts], [(0.5, 0.2), (0.005, 1.8)]
    )
