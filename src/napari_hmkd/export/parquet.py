"""`tiles.parquet`: the table of the tiles with types and unrounded numbers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from napari_hmkd.export.provenance import KEY, provenance_json
from napari_hmkd.export.table import COLUMNS
from napari_hmkd.grading import SlideGrading
from napari_hmkd.heatmap import expected, most_probable

_TYPES = {"row": pa.int64(), "column": pa.int64(), "grade": pa.int64(), "notice": pa.string()}


def tile_table(grading: SlideGrading) -> pa.Table:
    """The rows and columns of `tiles.csv`, typed.

    `row`, `column` and `grade` are int64, `notice` is text, all others are float64. A tile that
    could not be read has null for `p_0` to `expected_grade`. The table's metadata hold
    `provenance_json` under "napari_hmkd".
    """
    plan, heatmap = grading.plan, grading.heatmap
    tried = heatmap.failed_tiles | heatmap.graded_tiles
    tiles = plan.tiles[tried[tuple(plan.tiles.T)]]
    here = tuple(tiles.T)
    answers, failed = heatmap.answers[here], heatmap.failed_tiles[here]
    tissue_fraction = plan.of_tiles(plan.tissue_fraction)
    places = [*tiles.T, *plan.grid.origins(tiles).T, tissue_fraction[here]]
    grades = [*answers.T, most_probable(answers), expected(answers)]
    schema = pa.schema(
        [(name, _TYPES.get(name, pa.float64())) for name in COLUMNS],
        metadata={KEY: provenance_json(grading)},
    )
    columns = [
        *(pa.array(values) for values in places),
        *(pa.array(values, mask=failed) for values in grades),
        pa.array([plan.card.notice] * len(tiles), pa.string()),
    ]
    typed = [column.cast(kind) for column, kind in zip(columns, schema.types, strict=True)]
    return pa.Table.from_arrays(typed, schema=schema)


def write_parquet(grading: SlideGrading, path: Path) -> None:
    """Write `tile_table` as Parquet."""
    pq.write_table(tile_table(grading), path)
