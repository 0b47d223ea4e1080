"""`gallery.png` of biomarkers: attention over the slide, and the patches that weigh most."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure

from napari_hmkd.biomarkers.prediction import Prediction
from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.drawn_text import drawn_text
from napari_hmkd.export.overview import draw_overview
from napari_hmkd.export.provenance import KEY
from napari_hmkd.planning import read_tile
from napari_hmkd.wording import RESEARCH_ONLY

_SHOWN, _COLUMNS = 6, 3  # patches
_LINE = 150  # characters
_OVERVIEW_PX, _ROW_INCHES, _WIDTH_INCHES, _DPI = 900, 4.2, 11.0, 150


def write_gallery(run: SlideBiomarkers, about: Mapping[str, Any], path: Path) -> None:
    """Draw a row a target: what it means, the slide under its attention, and the patches with most of it.

    Parameters
    ----------
    run : SlideBiomarkers
        Run to its end; its slide is read.
    about : mapping
        What the file carries as text, plain values for JSON; "answered_by", "meaning" and "notice" stand
        under the picture.
    path : pathlib.Path
        A new PNG.

    Raises
    ------
    SlideReadError
        If the file has gone.
    """
    height = _ROW_INCHES * len(run.predictions)
    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=_DPI, layout="constrained")
    rows = figure.subfigures(len(run.predictions), 1, squeeze=False)[:, 0]
    slide, grid = run.extraction.plan.slide, run.extraction.plan.grid
    below = slide.thumbnail(_OVERVIEW_PX)
    for row, prediction in zip(rows, run.predictions, strict=True):
        left, right = row.subfigures(1, 2, width_ratios=(1, 1.3))
        top = prediction.top(_SHOWN)
        axes = left.subplots()
        places_px = grid.centers(run.extraction.encoded_tiles()[top])
        attention = run.attention_map(prediction)
        draw_overview(axes, below, grid, places_px, attention, "attention, 1 = an even share")
        axes.set_title(drawn_text(slide.name), fontsize=8)
        _patches(right, run, prediction, top)
        said = zip(prediction.target.classes, prediction.probabilities, strict=True)
        words = ", ".join(f"{name} {p:.2f}" for name, p in said)
        meaning = textwrap.fill(prediction.target.definition, _LINE)
        heading = f"{prediction.target.name}: {words}\n{meaning}"
        row.suptitle(drawn_text(heading), fontsize=9)
    caption = "; ".join(filter(None, (about["answered_by"], about["meaning"], about["notice"])))
    if RESEARCH_ONLY not in caption:
        caption += f"; {RESEARCH_ONLY}"
    figure.supxlabel(drawn_text(textwrap.fill(caption, _LINE)), fontsize=7)
    figure.savefig(path, metadata={KEY: json.dumps(about, ensure_ascii=False)})


def _patches(
    figure: SubFigure, run: SlideBiomarkers, prediction: Prediction, top: np.ndarray
) -> None:
    plan, tiles = run.extraction.plan, run.extraction.encoded_tiles()
    places = figure.subplots(-(-_SHOWN // _COLUMNS), _COLUMNS, squeeze=False).ravel()
    for axes in places:
        axes.set_axis_off()
    for number, (axes, patch) in enumerate(zip(places, top, strict=False), start=1):
        row, column = tiles[patch].tolist()
        axes.imshow(read_tile(plan.slide, plan.grid, (row, column)))
        weight = prediction.relative_attention[patch]
        axes.set_title(f"{number}: {weight:.1f} x, row {row}, column {column}", fontsize=7)
