"""A picture of where teacher and student look, drawn without pyplot: a row for each tile."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from napari_hmkd.drawn_text import drawn_text
from napari_hmkd.wording import GRADE_NAMES, RESEARCH_ONLY

LIMITS = 0.0, 2.0
"""Of the colours, in all tiles and epochs; 1 is received where all tokens are looked at alike."""
_WHO = ("teacher", "student")
_DPI, _FONT = 96, 8
# In inches. Where all sizes are known, none has to be found, which takes longer than to draw.
_CELL, _GAP, _LEFT, _RIGHT, _TOP, _BOTTOM = 1.3, 0.22, 0.3, 0.2, 0.55, 1.0
_BAR_BOTTOM, _BAR_HEIGHT = 0.6, 0.12


@dataclass(frozen=True, eq=False)
class WatchedTile:
    """What the two networks say about a tile.

    Attributes
    ----------
    name : str
    grade : int
        0 to 3, -1 where there is none.
    he : (side, side, 3) uint8
    teacher, student : (levels,) of (g, g) float32
        Received attention on the H&E's tokens.
    agreement : (levels,) float64
        Of the two at each level, 0 to 1.
    """

    name: str
    grade: int
    he: NDArray[np.uint8]
    teacher: tuple[NDArray[np.float32], ...]
    student: tuple[NDArray[np.float32], ...]
    agreement: NDArray[np.float64]


def draw_tiles(tiles: Sequence[WatchedTile], title: str, notice: str) -> bytes:
    """A PNG with H&E, and at each level the teacher's and the student's received attention side by side.

    Parameters
    ----------
    tiles : sequence of WatchedTile
        One row each; at least one, all of as many levels.
    title : str
        What stands above.
    notice : str
        The model's, which stands below; without one that it is for research.
    """
    levels = range(len(tiles[0].agreement))
    columns = ("H&E", *(f"{who}, level {level}" for level in levels for who in _WHO))
    figure, axes = _grid(len(tiles), len(columns))
    for place, name in zip(axes[0], columns, strict=True):
        place.set_title(name, fontsize=_FONT)
    for row, tile in zip(axes, tiles, strict=True):
        scale = _row(row, tile)
    _colour_bar(figure, scale)
    figure.suptitle(title, fontsize=_FONT + 2)
    figure.supxlabel(drawn_text(notice or RESEARCH_ONLY), fontsize=_FONT - 1)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
    return png.getvalue()


def _grid(rows: int, columns: int) -> tuple[Figure, NDArray[np.object_]]:
    """A figure with axes (rows, columns) of equal squares."""
    width = _LEFT + _RIGHT + _CELL * columns + _GAP * (columns - 1)
    height = _TOP + _BOTTOM + _CELL * rows + _GAP * (rows - 1)
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(
        rows, columns, squeeze=False,
        gridspec_kw={
            "left": _LEFT / width, "right": 1 - _RIGHT / width, "wspace": _GAP / _CELL,
            "bottom": _BOTTOM / height, "top": 1 - _TOP / height, "hspace": _GAP / _CELL,
        },
    )  # fmt: skip
    return figure, axes


def _colour_bar(figure: Figure, scale: AxesImage) -> None:
    """What the colours mean, below the maps."""
    width, height = figure.get_size_inches()
    left = (_LEFT + _CELL + _GAP) / width
    place = (left, _BAR_BOTTOM / height, 1 - _RIGHT / width - left, _BAR_HEIGHT / height)
    bar = figure.colorbar(scale, cax=figure.add_axes(place), orientation="horizontal")
    bar.set_label("received attention (1: all tokens are looked at alike)", fontsize=_FONT)
    bar.ax.tick_params(labelsize=_FONT)


def _row(axes: Sequence[Axes], tile: WatchedTile) -> AxesImage:
    he, *maps = axes
    he.imshow(tile.he)
    he.set_xlabel(drawn_text(tile.name), fontsize=_FONT - 2)
    grade = f"grade {GRADE_NAMES[tile.grade]}" if tile.grade >= 0 else "no grade"
    he.set_ylabel(grade, fontsize=_FONT)
    for agreement, of_teacher in zip(tile.agreement, maps[::2], strict=True):
        of_teacher.set_xlabel(f"agreement {agreement:.2f}", fontsize=_FONT - 2)
    both = (one for level in zip(tile.teacher, tile.student, strict=True) for one in level)
    for place, received in zip(maps, both, strict=True):
        shown = place.imshow(received, cmap="inferno", vmin=LIMITS[0], vmax=LIMITS[1])
        if not np.isfinite(received).all():
            place.text(
                0.5, 0.5, "not finite", ha="center", fontsize=_FONT, transform=place.transAxes
            )
    for place in axes:
        place.set(xticks=(), yticks=())
    return shown
