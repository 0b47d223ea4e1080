"""`tiles.parquet`: the table of the tiles with types and unrounded numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from napari_hmkd.export.table import COLUMNS
from napari_hmkd.grading import SlideGrading
from napari_hmkd.wording import NO_SCORE, RESEARCH_ONLY

_TYPES = {"row": pa.int64(), "column": pa.int64(), "grade": pa.int64(), "notice": pa.string()}


def tile_table(grading: SlideGrading) -> pa.Table:
    """The rows and columns of `tiles.csv`, typed.

    `row`, `column` and `grade` are int64, `notice` is text, all others are float64. A tile that
    could not be read has null for `p_0` to `expected_grade`. The table's metadata are the model
    card's `notice`, the `use` that may be made of it, and the `meaning` of its grades.
    """
    plan, heatmap = grading.plan, grading.heatmap
    failed = np.array([(row, column) in heatmap.failed for row, column in plan.tiles.tolist()])
    tried = failed | heatmap.graded[tuple(plan.tiles.T)]
    tiles, failed = plan.tiles[tried], failed[tried]
    here = tuple(tiles.T)
    places = [*tiles.T, *plan.grid.origins(tiles).T, plan.tissue_fraction[here]]
    grades = [
        *heatmap.probabilities[here].T,
        heatmap.grade[here],
        heatmap.expected_grade[here],
    ]
    schema = pa.schema(
        [(name, _TYPES.get(name, pa.float64())) for name in COLUMNS],
        metadata={"notice": plan.card.notice, "use": RESEARCH_ONLY, "meaning": NO_SCORE},
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
