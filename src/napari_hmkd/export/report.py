"""`report.html`: one self-contained page about a graded slide, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_hmkd.export.pages import data_url, flat, jpeg_url, render
from napari_hmkd.export.provenance import provenance
from napari_hmkd.export.summary import summarise
from napari_hmkd.grading import SlideGrading
from napari_hmkd.palette import GRADE_COLOURS, colourise

_BINS = 24


def write_report(grading: SlideGrading, path: Path, heatmap: Path, thumbnail: np.ndarray) -> None:
    """Write the page, with a thumbnail, the picture `heatmap`, the summary and where it comes from.

    Parameters
    ----------
    grading : SlideGrading
        Finished or not.
    path : pathlib.Path
        The new file.
    heatmap : pathlib.Path
        What `write_picture` wrote of it.
    thumbnail : uint8 (height, width, 3)
        What `write_picture` returned: where the slide has no small levels, reading it takes minutes.
    """
    summary = summarise(grading)
    page = render(
        "report.html",
        s=summary,
        colours=dict(zip(grading.plan.card.class_names, GRADE_COLOURS, strict=True)),
        thumbnail=jpeg_url(thumbnail),
        heatmap=data_url("png", heatmap.read_bytes()),
        bars=_histogram(grading),
        provenance=flat(provenance(grading)),
    )
    path.write_text(page, encoding="utf-8", newline="\n")


def _histogram(grading: SlideGrading) -> list[dict[str, Any]]:
    """Tissue per expected grade: of each bar area, percent of the highest one, colour and words."""
    heatmap, plan = grading.heatmap, grading.plan
    graded = heatmap.graded
    tissue_mm2 = plan.grid.area_mm2(plan.tissue_fraction)
    area_mm2, edges = np.histogram(
        heatmap.expected_grade[graded], _BINS, (0, 3), weights=tissue_mm2[graded]
    )
    colours = (255 * colourise((edges[1:] + edges[:-1]) / 2)[:, :3]).astype(int)
    highest = area_mm2.max() or 1.0
    return [
        {
            "area_mm2": area,
            "percent": f"{100 * area / highest:.1f}",
            "colour": "#{:02x}{:02x}{:02x}".format(*colour),
            "words": f"{low:.2f} to {high:.2f}: {area:.2f} mm2",
        }
        for area, low, high, colour in zip(
            area_mm2, edges[:-1], edges[1:], colours.tolist(), strict=True
        )
    ]
