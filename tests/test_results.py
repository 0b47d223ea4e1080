"""Results read back: drawn as they were, or refused with file and line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_hmkd.errors import OutputError
from napari_hmkd.export import write_results
from napari_hmkd.grading import OpenModel, start_grading
from napari_hmkd.layers import heatmap_layers
from napari_hmkd.planning import GradeSettings
from napari_hmkd.result_files import Summary, read_result_files
from napari_hmkd.results import is_result_folder, result_layers
from napari_hmkd.slide import open_slide

GRADES = [[0, 1, -1], [3, 2, 3]]
ROUNDING = 0.5e-6  # of the table's six decimals
SUMMARY = {
    "use": "research use only",
    "notice": "painted, research use only",
    "graded_tiles": 3,
    "unreadable_tiles": [{"row": 1, "column": 0, "reason": "that part is damaged"}],
    "slide": {
        "name": "Gewebe ü.tif",
        "mpp": [0.25, 0.5],
        "fingerprint": "af12",
        "height_px": 1024,
        "width_px": 768,
    },
    "tiles": {
        "tile_px": 256,
        "overlap": 1,
        "step_level0_px": [512.0, 256.0],
        "rows": 2,
        "columns": 3,
    },
    "model": {"name": "colours"},
}
TABLE = """\
row,column,y_px,x_px,tissue_fraction,p_0,p_1,p_2,p_3,grade,expected_grade,notice
0,0,0.000,0.000,1.0000,0.900000,0.100000,0.000000,0.000000,0,0.100000,"painted, research use only"
0,1,0.000,256.000,0.9000,0.000000,0.750000,0.250000,0.000000,1,1.250000,"painted, research use only"
1,0,512.000,0.000,1.0000,,,,,,,"painted, research use only"
1,2,512.000,512.000,0.2500,0.000000,0.000000,0.000000,1.000000,3,3.000000,"painted, research use only"
"""
COLUMNS = TABLE.partition("\n")[0].split(",")
ANSWER = COLUMNS[5:11]


def written(folder: Path, summary: object = SUMMARY, table: str = TABLE) -> Path:
    (folder / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    (folder / "tiles.csv").write_text(table, encoding="utf-8", newline="\n")
    return folder


def copied(key: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A summary, and the part of it that has a key, with the key's last name."""
    summary: dict[str, Any] = json.loads(json.dumps(SUMMARY))
    *parts, last = key.split(".")
    inner = summary
    for part in parts:
        inner = inner[part]
    return summary, inner, last


def refused(folder: Path, message: str) -> None:
    with pytest.raises(OutputError, match=message) as caught:
        result_layers(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("mpp", [4.0, 2.5])  # 2.5: no whole number of level-0 px per tile
@pytest.mark.parametrize("state", ["complete", "partly unreadable", "stopped"])
def test_layers_are_those_of_the_grading_itself(
    tmp_path: Path,
    paint_slide: Callable[..., Path],
    colour_model: OpenModel,
    state: str,
    mpp: float,
) -> None:
    damaged = [(1, 0)] if state == "partly unreadable" else []
    path = paint_slide(tmp_path / "Gewebe ü.tif", GRADES, damaged=damaged)
    with open_slide(path, mpp=mpp) as slide:
        grading = start_grading(slide, colour_model, GradeSettings(batch_size=1))
        batches = grading.run()
        next(batches)
        if state == "stopped":
            batches.close()
        list(batches)
        write_results(grading, tmp_path / "out")
        expected = heatmap_layers(grading)
    found = result_layers(tmp_path / "out")
    slide = read_result_files(tmp_path / "out", "show", Summary).summary.slide
    assert len(found) == len(expected) == 1 + len(damaged)
    for (data, kwargs, kind), (right, wanted, right_kind) in zip(found, expected, strict=True):
        assert (kind, data.dtype) == (right_kind, right.dtype)
        np.testing.assert_allclose(data, right, rtol=0, atol=1.1 * ROUNDING)
        colours = kwargs["colormap"].pop("colors"), wanted["colormap"].pop("colors")
        np.testing.assert_array_equal(*colours)
        said = kwargs.pop("metadata")["napari_hmkd"]
        source = {"slide_name": "Gewebe ü.tif", "slide_mpp": slide.mpp}
        source |= {"folder": tmp_path / "out", "saved_slide": slide}
        drawn = dict(wanted.pop("metadata")["napari_hmkd"])
        del drawn["result_of"]  # an open slide
        assert said == drawn | source
        assert kwargs == wanted


def test_results_say_what_the_files_say(tmp_path: Path) -> None:
    (grades, kwargs, _), (unreadable, _, _) = result_layers(written(tmp_path))
    about = kwargs["metadata"]["napari_hmkd"]
    assert about["slide_name"] == "Gewebe ü.tif"
    assert about["notice"] == "painted, research use only"
    assert about["slide_mpp"] == (0.25, 0.5)
    saved = about["saved_slide"]
    assert (saved.fingerprint, saved.height_px, saved.width_px) == ("af12", 1024, 768)
    assert np.argwhere(unreadable).tolist() == [[1, 0]]
    expected = [[0.1, 1.25, np.nan], [np.nan, np.nan, 3.0]]
    np.testing.assert_allclose(grades, expected, rtol=1e-6)


def test_napari_takes_the_layers(tmp_path: Path) -> None:
    image = pytest.importorskip("napari.layers", reason="needs napari").Image
    for data, kwargs, _ in result_layers(written(tmp_path)):
        layer = image(data, **kwargs)
        assert tuple(layer.scale) == (128.0, 128.0)
        assert tuple(layer.translate) == (127.75 / 2, 127.5 / 2)


def test_a_table_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "tiles.csv").write_bytes(TABLE.replace("\n", "\r\n").encode())
    (grades, _, _), *_ = result_layers(tmp_path)
    assert np.nanmax(grades) == 3.0


def test_a_model_may_have_no_notice(tmp_path: Path) -> None:
    table = TABLE.replace('"painted, research use only"', "")
    (_, kwargs, _), *_ = result_layers(written(tmp_path, SUMMARY | {"notice": ""}, table))
    assert kwargs["metadata"]["napari_hmkd"]["notice"] == ""


def test_what_holds_both_files_is_a_result_folder(tmp_path: Path) -> None:
    assert is_result_folder(written(tmp_path))
    (tmp_path / "tiles.csv").unlink()
    assert not is_result_folder(tmp_path)


def test_a_folder_that_cannot_be_looked_into_is_none(impossible_folder: Path) -> None:
    assert not is_result_folder(impossible_folder)
    refused(impossible_folder, r"asked to show the results in .*summary\.json cannot be used: ")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", r"summary\.json cannot be used: No such file")


@pytest.mark.parametrize("name", ["summary.json", "tiles.csv"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (written(tmp_path) / name).unlink()
    refused(tmp_path, f"{name} cannot be used: No such file")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("notice", None),
        ("graded_tiles", "three"),
        ("slide.name", 7),
        ("slide.mpp", [4.0]),
        ("slide.mpp", [4.0, 0.0]),
        ("slide.mpp", "4.0"),
        ("slide.height_px", 0),
        ("tiles.rows", 0),
        ("tiles.rows", 10**12),
        ("tiles.columns", 3.5),
        ("tiles.step_level0_px", [256.0, float("inf")]),
        ("tiles.step_level0_px", ["256", "256"]),
        ("model", []),
        ("unreadable_tiles", {}),
    ],
)
def test_a_wrong_value_in_the_summary_is_named(tmp_path: Path, key: str, value: object) -> None:
    summary, inner, last = copied(key)
    inner[last] = value
    refused(written(tmp_path, summary), rf"summary\.json cannot be used: {key}")


@pytest.mark.parametrize("key", ["slide.fingerprint", "slide.width_px", "tiles.overlap", "model"])
def test_a_key_that_the_summary_lacks_is_named_with_what_helps(tmp_path: Path, key: str) -> None:
    summary, inner, last = copied(key)
    del inner[last]
    refused(written(tmp_path, summary), f"{key}: Field required; .*or grade the slide again")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_summary_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (written(tmp_path) / "summary.json").write_bytes(content)
    refused(tmp_path, r"summary\.json")


def test_a_summary_that_was_cut_off_is_refused_with_the_line(tmp_path: Path) -> None:
    path = written(tmp_path) / "summary.json"
    path.write_bytes(path.read_bytes()[:200])
    line = path.read_bytes().count(b"\n") + 1
    refused(tmp_path, rf"summary\.json cannot be used: .*line {line} column")


def test_wherever_the_table_was_cut_off_it_is_noticed(tmp_path: Path) -> None:
    written(tmp_path)
    complete = len(TABLE) - 1  # the end of the last line may be missing
    for length in range(complete):
        (tmp_path / "tiles.csv").write_text(TABLE[:length], encoding="utf-8", newline="\n")
        refused(tmp_path, r"tiles\.csv cannot be used: (line \d|it is empty)")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"row": "2"}, r"tile \(2, 1\) lies outside the 2 x 3 tiles"),
        ({"column": "3"}, r"tile \(0, 3\) lies outside the 2 x 3 tiles"),
        ({"row": "-1"}, "row: .*greater than or equal to 0"),
        ({"row": ""}, "row: Field required"),
        ({"column": "0"}, r"tile \(0, 0\) is there a second time"),
        ({"column": "one"}, "column: .*integer"),
        ({"y_px": "top"}, "y_px: .*number"),
        ({"x_px": "inf"}, "x_px: .*finite"),
        ({"tissue_fraction": "2"}, "tissue_fraction: .*less than or equal to 1"),
        ({"p_2": "half"}, "p_2: .*number"),
        ({"p_2": ""}, "some of the fields p_0 to expected_grade are empty"),
        ({"grade": "4"}, "grade: .*less than or equal to 3"),
        ({"grade": "1+"}, "grade: .*integer"),
        ({"expected_grade": "nan"}, "expected_grade: .*finite"),
        ({"expected_grade": "3.5"}, "expected_grade: .*less than or equal to 3"),
        (dict.fromkeys(ANSWER, ""), r"whether tile \(0, 1\) could be read"),
        ({"notice": "of another model"}, r"the notice is not that of summary\.json"),
    ],
)
def test_a_wrong_field_of_the_table_is_named_with_its_line(
    tmp_path: Path, changed: dict[str, str], problem: str
) -> None:
    lines = list(csv.DictReader(io.StringIO(TABLE)))
    lines[1] |= changed
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    refused(written(tmp_path, table=table.getvalue()), rf"tiles\.csv .*: line 3: {problem}")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("row,column", "column,row", "line 1: the columns are column, row, "),
        (",notice", "", "line 1: the columns are"),
        (",", ";", "line 1: the columns are"),
        ("0,1,0.000", "0,1,0.000,7", "line 3: there are 13 fields instead of 12"),
        ("0,1,0.000", "0,1", "line 3: there are 11 fields instead of 12"),
        ("0,1,0.000", "0,1,0.\0", "line 3: y_px"),
        ("\n0,1", "\n\n0,1", "line 3: there are 0 fields instead of 12"),
    ],
)
def test_a_table_of_another_form_is_refused(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    count = -1 if new == ";" else 1
    refused(written(tmp_path, table=TABLE.replace(old, new, count)), problem)


def test_a_damaged_byte_is_refused_with_its_line(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "tiles.csv").write_bytes(TABLE.encode().replace(b"0.750000", b"0.7\xff0000"))
    refused(tmp_path, "line 3: p_1")


def test_a_table_of_another_run_is_refused(tmp_path: Path) -> None:
    summary = SUMMARY | {"graded_tiles": 4}
    refused(written(tmp_path, summary), "line 5: the table ends with 4 of the 5 tiles")


def test_results_are_shown_without_torch() -> None:
    program = "import sys, napari_hmkd.results; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("tile", [(1, 1), (7, 0)])
def test_an_unreadable_tile_that_the_table_does_not_have_is_refused(
    tmp_path: Path, tile: tuple[int, int]
) -> None:
    row, column = tile
    unreadable = [*SUMMARY["unreadable_tiles"], {"row": row, "column": column, "reason": "damaged"}]
    summary = SUMMARY | {"unreadable_tiles": unreadable, "graded_tiles": 2}
    message = rf"tile \({row}, {column}\), not readable in summary\.json, is not there"
    refused(written(tmp_path, summary), message)
