"""`figure.png` of attention: agreement over the slide, and the tiles that the student sees worst."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

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
    _overview(parts[0], pair, agreement, chosen)
    for number, (part, one) in enumerate(zip(parts[1:], chosen, strict=True), start=1):
        _tile(part, number, part.subplots(1, columns), pair, one)
    notice = about["notice"]
    said = notice if RESEARCH_ONLY in notice else "; ".join(filter(None, (notice, RESEARCH_ONLY)))
    figure.supxlabel("\n".join(filter(None, (finding, said))), fontsize=7, wrap=True)
    figure.savefig(path, metadata={KEY: json.dumps(about, ensure_ascii=False)})


def _overview(
    figure: SubFigure,
    pair: StainPair,
    agreement: np.ndarray | None,
    chosen: Sequence[InspectedTile],
) -> None:
    axes = figure.subplots()
    size, mm = pair.he.size, np.array(pair.grid.slide_mpp) / 1000
    extent = (0, size.width * mm[1], size.height * mm[0], 0)
    axes.imshow(pair.he.thumbnail(_OVERVIEW_PX), extent=extent)
    if agreement is not None:
        bottom, right = np.multiply(agreement.shape, pair.grid.step_px) * mm
        shown = axes.imshow(
            agreement, extent=(0, right, bottom, 0), cmap="viridis", vmin=0, vmax=1, alpha=0.6
        )
        # Beside the slide, whatever its shape; matplotlib's own place is the border of the figure.
        bar = axes.inset_axes((1.03, 0, 0.04, 1))
        figure.colorbar(
            shown, cax=bar, label="agreement of student and teacher, mean of the levels"
        )
    for number, one in enumerate(chosen, start=1):
        corner = pair.grid.origins(one.tile)[0]
        # It may reach beyond the slide.
        far = np.minimum(corner + pair.grid.step_px, (size.height, size.width))
        y, x = (corner + far) / 2 * mm
        box = {"boxstyle": "circle", "facecolor": "white", "edgecolor": "black"}
        axes.text(x, y, str(number), ha="center", va="center", fontsize=8, bbox=box)
    axes.set(
        xlim=extent[:2], ylim=extent[2:], xlabel="mm", ylabel="mm", title=f"{pair.he.name}, H&E"
    )


def _tile(
    figure: SubFigure, number: int, axes: Sequence[Axes], pair: StainPair, one: InspectedTile
) -> None:
    he, ihc = pair.read(one.tile)
    for place, name, pixels in zip(axes, ("H&E", "IHC"), (he, ihc), strict=False):
        place.set_title(name, fontsize=8)
        if pixels is not None:
            place.imshow(pixels)
    row = row_of(one, pair.grid)
    expected = row.student_expected, row.teacher_expected
    said = (
        f"student {expected[0]:.2f}"
        if expected[1] is None
        else f"student {expected[0]:.2f}, teacher {expected[1]:.2f}"
    )
    axes[0].set_ylabel(f"{number}: row {row.row}, column {row.column}\n{said}", fontsize=7)
    for place, kind in zip(axes[2:], kinds_of(one.inspection), strict=True):
        tokens = tokens_of(one.inspection, kind, LEVEL)
        look = look_of(kind, len(tokens))
        shown = place.imshow(tokens, cmap=look.colours, vmin=look.limits[0], vmax=look.limits[1])
        figure.colorbar(shown, ax=place, shrink=0.7).ax.tick_params(labelsize=6)
        place.set_title(_SHORT[kind], fontsize=8)
    for place in axes:
        place.set(xticks=(), yticks=())
