"""A slide in a figure, true to scale, with what lies over it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from napari_hmkd.tiling import TileGrid


def draw_overview(
    axes: Axes,
    below: np.ndarray,
    grid: TileGrid,
    places_px: npt.ArrayLike,
    values: np.ndarray | None = None,
    label: str = "",
    most: float | None = None,
) -> None:
    """Draw a slide in mm, colours over its tiles, and numbers from 1 at places.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    below : numpy.ndarray
        The slide in few pixels: uint8 (height, width, 3).
    grid : TileGrid
        Its tiles.
    places_px : array_like
        (y, x) in level-0 px: (n, 2), or none.
    values : numpy.ndarray, optional
        One a tile, from 0: (rows, columns), NaN where there is none.
    label : str
        What they are, for the bar of colours.
    most : float, optional
        Where the colours end; at the greatest value, if left out.
    """
    mm = np.array(grid.slide_mpp) / 1000
    height, width = grid.slide_size.height * mm[0], grid.slide_size.width * mm[1]
    axes.imshow(below, extent=(0, width, height, 0))
    if values is not None:
        bottom, right = np.multiply(values.shape, grid.step_px) * mm
        extent = (0, right, bottom, 0)
        shown = axes.imshow(values, extent=extent, cmap="viridis", vmin=0, vmax=most, alpha=0.6)
        # Beside the slide, whatever its shape; matplotlib's own place is the border of the figure.
        bar = axes.inset_axes((1.03, 0, 0.04, 1))
        axes.figure.colorbar(shown, cax=bar, label=label)
    box = {"boxstyle": "circle", "facecolor": "white", "edgecolor": "black", "alpha": 0.8}
    for number, (y, x) in enumerate(np.reshape(places_px, (-1, 2)) * mm, start=1):
        axes.text(x, y, str(number), ha="center", va="center", fontsize=7, bbox=box)
    axes.set(xlim=(0, width), ylim=(height, 0), xlabel="mm", ylabel="mm")
