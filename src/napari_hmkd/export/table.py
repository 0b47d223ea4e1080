"""`tiles.csv` and `tiles.parquet`: one row per tile that was tried."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from napari_hmkd.export.provenance import KEY, provenance_json
from napari_hmkd.grading import SlideGrading
from napari_hmkd.heatmap import expected, most_probable
from napari_hmkd.output_folder import csv_text
from napari_hmkd.result_files import COLUMNS

_TYPES = {"row": pa.int64(), "column": pa.int64(), "grade": pa.int64(), "notice": pa.string()}
_FORMATS = {"y_px": ".4f", "x_px": ".4f", "tissue_fraction": ".4f"}
"""In the CSV. With three digits, some spreadsheets take 4096.000 for 4096000."""


def tile_table(grading: SlideGrading) -> pa.Table:
    """`COLUMNS` of each tile, by row and column.

    `y_px` and `x_px` are the tile's top-left corner from the slide's top-left corner, in level-0
    px. A tile that could not be read has null for `p_0` to `expected_grade`, empty fields in the
    CSV, so that the columns stay numbers for whoever reads them; `summary.json` lists it with the
    reason. `notice` is the model card's, on every row: a table is often passed on alone. `row`,
    `column` and `grade` are int64, `notice` is text, all others are float64. The table's metadata hold
    `provenance_json` under "napari_hmkd"; for the CSV, which has no place for it, it is in the
    `summary.json` beside it.
    """
    plan, heatmap = grading.plan, grading.heatmap
    tried = heatmap.failed_tiles | heatmap.graded_tiles
    tiles = plan.tiles[tried[tuple(plan.tiles.T)]]
    here = tuple(tiles.T)
    answers, failed = heatmap.answers, heatmap.failed_tiles[here]
    tissue_fraction = plan.of_tiles(plan.tissue_fraction)
    places = [*tiles.T, *plan.grid.origins(tiles).T, tissue_fraction[here]]
    grades = [*answers[here].T, most_probable(answers)[here], expected(answers)[here]]
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


def write_tiles(table: pa.Table, csv_path: Path, parquet_path: Path, number: str = ".6f") -> None:
    """Write a table of tiles as Parquet, and as UTF-8 CSV with a header and rounded numbers.

    `number` is their format in the CSV, but for places and tissue fractions.
    """
    pq.write_table(table, parquet_path)
    columns = (
        [f"{one:{_FORMATS.get(name, number)}}" if isinstance(one, float) else one for one in values]
        for name, values in table.to_pydict().items()
    )
    text = csv_text(table.column_names, zip(*columns, strict=True))
    csv_path.write_text(text, encoding="utf-8", newline="")
