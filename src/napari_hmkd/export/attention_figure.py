"""`figure.png` of attention: agreement over the slide, and the tiles that the student sees worst."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from napari_hmkd.drawn_text import drawn_text
from napari_hmkd.export.overview import draw_overview
from napari_hmkd.export.provenance import KEY
from napari_hmkd.inspection.maps import MapKind, kinds_of, look_of, tokens_of
from napari_hmkd.inspection.pair import StainPair
from napari_hmkd.inspection.slide import InspectedTile, row_of
from napari_hmkd.wording import RESEARCH_ONLY

LEVEL = 0
"""Of the maps that are shown: the finest."""

_OVERVIEW_PX = 1200
_CELL_INCHES, _OVERVIEW_INCHES, _NARROWEST_INCHES, _DPI = 2.1, 5.5, 8.0, 200

_SHORT = {
    MapKind.STUDENT: "student",
    MapKind.TEACHER_HE: "teacher on H&E",
    MapKind.TEACHER_IHC: "teacher on IHC",
    MapKind.DIFFERENCE: "student - teacher",
    MapKind.DISCREPANCY: "cost",
}


def write_figure(
    pair: StainPair,
    agreement: np.ndarray | None,
    chosen: Sequence[InspectedTile],
    about: Mapping[str, Any],
    path: Path,
    finding: str = "",
) -> None:
    """Draw the slide with what was found, and a row for each of some tiles.

    Parameters
    ----------
    pair : StainPair
        Where the tiles are read once more.
    agreement : numpy.ndarray or None
        Mean over the levels, (rows, columns), NaN where not known; None without a teacher.
    chosen : sequence of InspectedTile
        One row each: both stains and the maps of level 0.
    about : mapping
        What the file carries as text, plain values for JSON; its "notice" stands under the picture.
    path : pathlib.Path
        A new PNG.
    finding : str
        A sentence that stands under the picture, too.
    """
    columns = 2 + len(kinds_of(chosen[0].inspection)) if chosen else 2
    height = _OVERVIEW_INCHES + _CELL_INCHES * len(chosen)
    width = max(_CELL_INCHES * columns, _NARROWEST_INCHES)
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    parts = figure.subfigures(
        1 + len(chosen),
        1,
        height_ratios=[_OVERVIEW_INCHES, *[_CELL_INCHES] * len(chosen)],
        squeeze=False,
    )[:, 0]
    axes = parts[0].subplots()
    below = pair.he.thumbnail(_OVERVIEW_PX)
    label = "agreement of student and teacher, mean of the levels"
    draw_overview(axes, below, pair.grid, _middles_px(pair, chosen), agreement, label, most=1.0)
    axes.set_title(drawn_text(f"{pair.he.name}, H&E"))
    for number, (part, one) in enumerate(zip(parts[1:], chosen, strict=True), start=1):
        _tile(part, number, part.subplots(1, columns), pair, one)
    notice = about["notice"]
    said = notice if RESEARCH_ONLY in notice else "; ".join(filter(None, (notice, RESEARCH_ONLY)))
    below_all = "\n".join(filter(None, (finding, said)))
    figure.supxlabel(drawn_text(below_all), fontsize=7, wrap=True)
    figure.savefig(path, metadata={KEY: json.dumps(about, ensure_ascii=False)})


def _middles_px(pair: StainPair, chosen: Sequence[InspectedTile]) -> np.ndarray:
    """Middles of what of each tile lies on the slide, (y, x) in level-0 px: (n, 2)."""
    grid = pair.grid
    corners = grid.origins([one.tile for one in chosen])
    size = grid.slide_size
    return (corners + np.minimum(corners + grid.step_px, (size.height, size.width))) / 2


def _tile(
    figure: SubFigure, number: int, axes: Sequence[Axes], pair: StainPair, one: InspectedTile
) -> None:
    he, ihc = pair.read(one.tile)
    for place, name, pixels in zip(axes, ("H&E", "IHC"), (he, ihc), strict=False):
        place.set_title(name, fontsize=8)
        if pixels is not None:
            place.imshow(pixels)
    row = row_of(one, pair.grid)
    said = f"student {row.student_expected:.2f}"
    if row.teacher_expected is not None:
        said += f", teacher {row.teacher_expected:.2f}"
    axes[0].set_ylabel(f"{number}: row {row.row}, column {row.column}\n{said}", fontsize=7)
    for place, kind in zip(axes[2:], kinds_of(one.inspection), strict=True):
        tokens = tokens_of(one.inspection, kind, LEVEL)
        look = look_of(kind, len(tokens))
        shown = place.imshow(tokens, cmap=look.colours, vmin=look.limits[0], vmax=look.limits[1])
        figure.colorbar(shown, ax=place, shrink=0.7).ax.tick_params(labelsize=6)
        place.set_title(_SHORT[kind], fontsize=8)
    for place in axes:
        place.set(xticks=(), yticks=())
