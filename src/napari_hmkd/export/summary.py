"""`summary.json`: what was graded, with what, and how much tissue of each grade there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_hmkd.export.contents import LISTED_AS, list_files
from napari_hmkd.export.provenance import FIELDS, provenance
from napari_hmkd.export.regions import region_entries, slide_grade, summary_entries
from napari_hmkd.export.request import request_entry
from napari_hmkd.geometry import Origin
from napari_hmkd.grading import SlideGrading
from napari_hmkd.output_folder import write_json
from napari_hmkd.result_files import SUMMARY_FILE

NAMES = frozenset(FIELDS) | {
    "warnings", "grades", "graded_tissue_mm2", "graded_tiles", "undecided_tiles", "expected_grade",
    "grade_of_most_area", "slide_grade", "regions", "unreadable_tiles", "geojson_origin", "request",
    "tiles_of_an_earlier_run", "seconds", "tiles_per_second", LISTED_AS,
}  # fmt: skip
"""Of the entries of `summary.json`."""


def summarise(grading: SlideGrading, geojson_origin: Origin = "slide") -> dict[str, object]:
    """Everything a reader of the results needs, `provenance` among it, as plain values for JSON.

    Numbers of tiles are of tiles. Areas count the tissue of each square, which is a tile unless tiles
    overlap, wholly for its most probable grade; see `Heatmap.summary`. `geojson_origin` is where
    `tiles.geojson` counts from.
    """
    plan, card, summary = grading.plan, grading.plan.card, grading.heatmap.summary()
    left = len(grading.heatmap.remaining)
    tried = len(plan.tiles) - left - grading.resumed_tiles
    warnings = [card.notice] if card.notice else []
    warnings += grading.warnings
    if left:
        warnings.append(
            f"stopped early: {left} of {len(plan.tiles)} tiles were not graded, and those that were "
            "are no random sample"
        )
    source = provenance(grading)
    return {
        **{name: source[name] for name in ("use", "meaning", "notice")},  # before any number
        "warnings": warnings,
        **summary_entries(summary, card.class_names),
        "slide_grade": slide_grade(grading),
        "regions": region_entries(grading),
        "unreadable_tiles": [
            {"row": tile.row, "column": tile.column, "reason": tile.message}
            for _, tile in sorted(grading.heatmap.failed.items())
        ],
        **source,
        "slide": source["slide"] | {"path": str(plan.slide.path.absolute())},
        "geojson_origin": geojson_origin,
        "request": request_entry(
            plan.settings,
            [one.region for one in plan.regions],
            plan.tissue is not None and plan.tissue.edited,
            geojson_origin,
        ),
        "tiles_of_an_earlier_run": grading.resumed_tiles,
        "seconds": round(grading.seconds, 2),
        "tiles_per_second": round(tried / grading.seconds, 3) if grading.seconds else None,
    }


def write_summary(
    grading: SlideGrading, path: Path, geojson_origin: Origin = "slide"
) -> dict[str, Any]:
    """Write `summarise` as UTF-8 JSON, and what other files are there already, as `list_files` has them.

    Returns
    -------
    dict
        What the file says.
    """
    said = summarise(grading, geojson_origin) | {LISTED_AS: list_files(path.parent)}
    write_json(path, said)
    return said


def read_summary(folder: Path, name: str = SUMMARY_FILE) -> dict[str, Any] | None:
    """What was written about a slide to its folder; None where there is nothing, or it was cut."""
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
