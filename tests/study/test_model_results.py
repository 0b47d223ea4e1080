"""The model's values, from the folders that grading writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.study.conftest import NOTICE, areas

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.study.model_results import find_results, read_result
from napari_hmkd.study.scores import WHOLE_SLIDE
from napari_hmkd.study.values import ModelValue

WriteResult = Callable[..., Path]
TILES = ((0.5, 1, 1.0), (1.0, 2, 2.5), (0.25, 1, 0.5))


def test_the_values_are_those_that_the_summary_states(write_result: WriteResult) -> None:
    found = read_result(write_result("a.svs", TILES)).values[WHOLE_SLIDE]
    assert found.expected_grade == pytest.approx((0.5 * 1 + 1 * 2.5 + 0.25 * 0.5) / 1.75)
    assert found.grade_of_most_area == 2  # one tile of three, but most of the tissue


def test_two_grades_of_the_same_area_are_no_grade(write_result: WriteResult) -> None:
    tiles = [*[(0.1, 3, 3.0)] * 3, (0.3, 1, 1.0)]
    assert read_result(write_result("a.svs", tiles)).values == {
        WHOLE_SLIDE: ModelValue(pytest.approx(2.0), None)
    }


def test_a_model_s_own_names_of_the_grades_change_no_value(write_result: WriteResult) -> None:
    names = ("negative", "low", "equivocal", "positive")
    grades = dict(zip(names, areas(0, 0, 0, 1).values(), strict=True))
    found = read_result(write_result("a.svs", [(1.0, 3, 2.75)], grades=grades))
    assert found.values == {WHOLE_SLIDE: ModelValue(2.75, 3)}


def test_unreadable_tiles_do_not_count(write_result: WriteResult) -> None:
    folder = write_result("a.svs", [(1.0, 3, 2.75)], unreadable=5)
    assert read_result(folder).values == {WHOLE_SLIDE: ModelValue(2.75, 3)}


def test_a_slide_without_a_graded_tile_has_no_value(write_result: WriteResult) -> None:
    assert read_result(write_result("a.svs", [], unreadable=2)).values == {}


def test_regions_are_read_where_the_summary_has_them(write_result: WriteResult) -> None:
    regions = [
        {"name": "Stanze 1", "expected_grade": 2.25, "grades": areas(0, 0, 2, 1), "tiles_left": 0},
        {"name": "Stanze 2", "expected_grade": 0.5, "grades": areas(1, 1, 0, 0), "tiles_left": 0},
        {"name": "Stanze 3", "expected_grade": None, "grades": areas(0, 0, 0, 0), "tiles_left": 0},
    ]
    assert read_result(write_result("a.svs", regions=regions)).values == {
        WHOLE_SLIDE: ModelValue(2.0, 2),
        "Stanze 1": ModelValue(2.25, 2),
        "Stanze 2": ModelValue(0.5, None),
    }


@pytest.mark.parametrize(
    ("only_in_regions", "complete", "reason"),
    [
        (False, False, "no value of the whole slide: it was graded in part"),
        (True, True, "no value of the whole slide: only marked regions were graded"),
    ],
)
def test_a_part_of_a_slide_or_region_is_no_value_of_all_of_it(
    write_result: WriteResult, only_in_regions: bool, complete: bool, reason: str
) -> None:
    regions = [
        {"name": name, "expected_grade": 2.0, "grades": areas(0, 0, 1, 0), "tiles_left": left}
        for name, left in (("done", 0), ("begun", 3))
    ]
    folder = write_result("a.svs", regions=regions, complete=complete)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    summary["tiles"]["only_in_regions"] = only_in_regions
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    found = read_result(folder)
    assert found.values == {"done": ModelValue(2.0, 2)}
    assert found.warnings == (reason, "no value of the region 'begun': 3 of its tiles not graded")


def test_regions_of_one_name_are_an_error(write_result: WriteResult) -> None:
    regions = [
        {"name": name, "expected_grade": 1.0, "grades": areas(0, 1, 0, 0), "tiles_left": 0}
        for name in ("x", "X")
    ]
    with pytest.raises(DataError, match="'x' and 'X' cannot be told apart"):
        read_result(write_result("a.svs", regions=regions))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"slide": {"name": "a.svs", "mpp": [1.0, 1.0]}}, "slide.fingerprint: Field required"),
        ({"regions": [{"name": "x", "expected_grade": 3.5, "grades": areas(0, 0, 0, 1)}]},
         "regions.0.expected_grade"),
        ({"regions": [{"name": "x", "expected_grade": 3.0, "grades": areas(0, 0, 0, -1)}]},
         r"regions.0.grades.3\+.area_mm2"),
        ({"grades": {"0": {"area_mm2": 1.0}}}, "grades: .*at least 4"),
        ({"graded_tiles": 2}, "line 2: the table ends with 1 of the 2 tiles"),
    ],
    ids=["no fingerprint", "no such value", "no such area", "no such grades", "cut table"],
)  # fmt: skip
def test_a_damaged_result_is_an_error_that_names_the_file(
    write_result: WriteResult, changed: dict[str, object], message: str
) -> None:
    folder = write_result("a.svs")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8")) | changed
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(OutputError, match=f"compare readers with .*{message}") as caught:
        read_result(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [("1.0,0,0,1,0,2,2.0", "1.0,0,0,1,0,2,nan"), ("expected_grade", "mean"), (NOTICE, "")],
)
def test_a_damaged_table_is_an_error(write_result: WriteResult, old: str, new: str) -> None:
    table = write_result("a.svs") / "tiles.csv"
    text = table.read_text(encoding="utf-8")
    assert old in text
    table.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(OutputError, match=r"tiles\.csv cannot be used: line \d"):
        read_result(table.parent)


@pytest.mark.parametrize("name", ["summary.json", "tiles.csv"])
def test_a_missing_file_is_an_error(write_result: WriteResult, name: str) -> None:
    folder = write_result("a.svs")
    (folder / name).unlink()
    with pytest.raises(OutputError, match=f"{name}.*No such file"):
        read_result(folder)


def test_results_are_found_in_the_folder_of_all_and_by_their_own(
    tmp_path: Path, write_result: WriteResult
) -> None:
    one, two = write_result("a.svs"), write_result("b.svs")
    other = write_result("c.svs", below="elsewhere")
    write_result(".0123.part")
    (tmp_path / "out" / "study").mkdir()
    assert find_results([tmp_path / "out"]) == [one, two]
    assert find_results([one, tmp_path / "out", other]) == [one, two, other]


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither it nor a folder in it holds summary\.json"):
        find_results([tmp_path])


@pytest.mark.parametrize("name", ["nowhere", "a file"])
def test_what_is_no_folder_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(DataError, match="asked for results in"):
        find_results([tmp_path / name])


def test_a_folder_that_cannot_be_looked_into_is_an_error(impossible_folder: Path) -> None:
    with pytest.raises(DataError, match=r"asked for results in .*name the folder"):
        find_results([impossible_folder])


def test_what_grading_writes_is_read(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: object
) -> None:
    """The value is the summary's: same grades, same areas."""
    from napari_hmkd.export import write_results
    from napari_hmkd.grading import start_grading
    from napari_hmkd.slide import open_slide

    with open_slide(paint_slide(tmp_path / "ü.tif", [[0, 3, -1], [3, 2, 3]], [(1, 0)])) as slide:
        grading = start_grading(slide, colour_model)
        list(grading.run())
        write_results(grading, tmp_path / "out" / "ü.tif")
    result = read_result(tmp_path / "out" / "ü.tif")
    summary = json.loads((result.folder / "summary.json").read_text(encoding="utf-8"))
    shares = [grade["share"] for grade in summary["grades"].values()]
    whole = result.values[WHOLE_SLIDE]
    assert whole.grade_of_most_area == shares.index(max(shares)) == 3
    assert whole.expected_grade == pytest.approx(shares[2] * 2 + shares[3] * 3, abs=0.01)
    assert (result.slide, result.model) == ("ü.tif", "colours")
    assert result.fingerprint == summary["slide"]["fingerprint"]
    assert result.notice == "painted squares, research use only"
    assert result.warnings == ("1 tile could not be read or graded",)


def test_a_moved_folder_still_knows_its_slide(tmp_path: Path, write_result: WriteResult) -> None:
    shutil.move(write_result("a.svs"), tmp_path / "renamed")
    assert read_result(tmp_path / "renamed").slide == "a.svs"
