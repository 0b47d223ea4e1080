"""`tiles.csv`: one row per tile that was tried."""

from __future__ import annotations

import csv
from pathlib import Path

from napari_hmkd.grading import SlideGrading
from napari_hmkd.heatmap import NOT_GRADED, expected, most_probable

COLUMNS = (
    "row",
    "column",
    "y_px",
    "x_px",
    "tissue_fraction",
    "p_0",
    "p_1",
    "p_2",
    "p_3",
    "grade",
    "expected_grade",
    "notice",
)


def tile_rows(grading: SlideGrading) -> list[tuple[object, ...]]:
    """A tuple of `COLUMNS` per tile, by row and column.

    `y_px` and `x_px` are the tile's top-left corner from the slide's top-left corner, in level-0
    px. A tile that could not be read has None for `p_0` to `expected_grade`, empty fields in the
    file, so that the columns stay numbers for whoever reads them; `summary.json` lists it with the
    reason. `notice` is the model card's, on every row: a table is often passed on alone. The rest of
    the `provenance`, for which a CSV has no place, is in the `summary.json` beside it.
    """
    heatmap, plan = grading.heatmap, grading.plan
    notice, tissue_fraction = plan.card.notice, plan.of_tiles(plan.tissue_fraction)
    grade, mean_grade = most_probable(heatmap.answers), expected(heatmap.answers)
    rows: list[tuple[object, ...]] = []
    for row, column in plan.tiles.tolist():
        y_px, x_px = plan.grid.origins([row, column])[0]
        place = (
            row,
            column,
            f"{y_px:.4f}",  # three digits would be thousands where a point groups them
            f"{x_px:.4f}",
            f"{tissue_fraction[row, column]:.4f}",
        )
        if (row, column) in heatmap.failed:
            rows.append((*place, *[None] * 6, notice))
        elif (likeliest := int(grade[row, column])) != NOT_GRADED:
            p = [f"{value:.6f}" for value in heatmap.answers[row, column]]
            rows.append((*place, *p, likeliest, f"{mean_grade[row, column]:.6f}", notice))
    return rows


def write_table(grading: SlideGrading, path: Path) -> None:
    """Write `tile_rows` as UTF-8 CSV with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(tile_rows(grading))
