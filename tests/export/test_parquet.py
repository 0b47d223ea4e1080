"""The table as Parquet: that of the CSV, with types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from napari_hmkd.export.parquet import tile_table, write_parquet
from napari_hmkd.export.table import COLUMNS, tile_rows
from napari_hmkd.grading import SlideGrading

GRADES = [[0, 1, -1], [3, 2, 3]]
EMPTY = ("p_0", "p_1", "p_2", "p_3", "grade", "expected_grade")


@pytest.fixture(params=["complete", "one tile unreadable", "stopped"])
def grading(
    request: pytest.FixtureRequest, grade_painted: Callable[..., SlideGrading]
) -> SlideGrading:
    damaged = [(1, 0)] if request.param == "one tile unreadable" else []
    return grade_painted(GRADES, damaged, batches=1 if request.param == "stopped" else None)


def test_numbers_have_types(tmp_path: Path, grading: SlideGrading) -> None:
    write_parquet(grading, tmp_path / "tiles.parquet")
    schema = pq.read_schema(tmp_path / "tiles.parquet")
    assert tuple(schema.names) == COLUMNS
    whole = {name for name in COLUMNS if schema.field(name).type == pa.int64()}
    assert whole == {"row", "column", "grade"}
    assert schema.field("notice").type == pa.string()
    rest = set(COLUMNS) - whole - {"notice"}
    assert {schema.field(name).type for name in rest} == {pa.float64()}


def test_it_holds_what_the_csv_holds_and_more_decimals(
    tmp_path: Path, grading: SlideGrading
) -> None:
    write_parquet(grading, tmp_path / "tiles.parquet")
    found = pq.read_table(tmp_path / "tiles.parquet").to_pylist()
    expected = [dict(zip(COLUMNS, row, strict=True)) for row in tile_rows(grading)]
    assert len(found) == len(expected) > 0
    for typed, printed in zip(found, expected, strict=True):
        for name, value in printed.items():
            if name != "notice" and isinstance(value, str):
                decimals = len(value.partition(".")[2])
                assert f"{typed[name]:.{decimals}f}" == value, name
            else:
                assert typed[name] == value, name


def test_a_tile_that_could_not_be_read_has_nulls(tmp_path: Path, grading: SlideGrading) -> None:
    write_parquet(grading, tmp_path / "tiles.parquet")
    rows = pq.read_table(tmp_path / "tiles.parquet").to_pylist()
    without = {(row["row"], row["column"]) for row in rows if row["grade"] is None}
    assert without == set(grading.heatmap.failed)
    for row in rows:
        assert {row[name] is None for name in EMPTY} == {row["grade"] is None}
        assert None not in {row[name] for name in COLUMNS if name not in EMPTY}


def test_it_comes_back_as_it_was(tmp_path: Path, grading: SlideGrading) -> None:
    write_parquet(grading, tmp_path / "tiles.parquet")
    table = pq.read_table(tmp_path / "tiles.parquet")
    assert table.equals(tile_table(grading), check_metadata=True)
