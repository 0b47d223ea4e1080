"""The table of tiles: typed as Parquet, rounded as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from napari_hmkd.export.table import tile_table, write_tiles
from napari_hmkd.grading import SlideGrading
from napari_hmkd.result_files import COLUMNS

GRADES = [[0, 1, -1], [3, 2, 3]]
EMPTY = ("p_0", "p_1", "p_2", "p_3", "grade", "expected_grade")


@pytest.fixture(params=["complete", "one tile unreadable", "stopped"])
def grading(
    request: pytest.FixtureRequest, grade_painted: Callable[..., SlideGrading]
) -> SlideGrading:
    damaged = [(1, 0)] if request.param == "one tile unreadable" else []
    return grade_painted(GRADES, damaged, batches=1 if request.param == "stopped" else None)


@pytest.fixture
def parquet(grading: SlideGrading, tmp_path: Path) -> Path:
    path = tmp_path / "tiles.parquet"
    write_tiles(tile_table(grading), path.with_suffix(".csv"), path)
    return path


def test_numbers_have_types(parquet: Path) -> None:
    schema = pq.read_schema(parquet)
    assert tuple(schema.names) == COLUMNS
    whole = {name for name in COLUMNS if schema.field(name).type == pa.int64()}
    assert whole == {"row", "column", "grade"}
    assert schema.field("notice").type == pa.string()
    rest = set(COLUMNS) - whole - {"notice"}
    assert {schema.field(name).type for name in rest} == {pa.float64()}


def test_it_holds_what_the_csv_holds_and_more_decimals(parquet: Path) -> None:
    found = pq.read_table(parquet).to_pylist()
    with parquet.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    assert len(found) == len(expected) > 0
    for typed, printed in zip(found, expected, strict=True):
        for name, value in printed.items():
            if isinstance(typed[name], float):
                decimals = len(value.partition(".")[2])
                assert decimals == {"y_px": 4, "x_px": 4, "tissue_fraction": 4}.get(name, 6)
                assert f"{typed[name]:.{decimals}f}" == value, name
            else:
                assert value == ("" if typed[name] is None else str(typed[name])), name


def test_a_tile_that_could_not_be_read_has_nulls(parquet: Path, grading: SlideGrading) -> None:
    rows = pq.read_table(parquet).to_pylist()
    without = {(row["row"], row["column"]) for row in rows if row["grade"] is None}
    assert without == set(grading.heatmap.failed)
    for row in rows:
        assert {row[name] is None for name in EMPTY} == {row["grade"] is None}
        assert None not in {row[name] for name in COLUMNS if name not in EMPTY}


def test_it_comes_back_as_it_was(parquet: Path, grading: SlideGrading) -> None:
    table = pq.read_table(parquet)
    assert table.equals(tile_table(grading), check_metadata=True)
