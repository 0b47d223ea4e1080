"""Results are verified by grading some of them again."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_hmkd.cli.grade import main
from napari_hmkd.errors import OutputError
from napari_hmkd.verification import verify_results

GRADES = [[0, 1, 2, 3], [3, 2, 1, 0]]


@pytest.fixture
def slide_file(tmp_path: Path, paint_slide: Callable[..., Path]) -> Path:
    return paint_slide(tmp_path / "slide ä.tif", GRADES)


@pytest.fixture
def results(slide_file: Path, student_file: Path, tmp_path: Path) -> Path:
    with pytest.raises(SystemExit) as ended:
        main([str(slide_file), "--model", str(student_file), "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    return tmp_path / "out" / slide_file.name


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["verify", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_what_was_just_graded_agrees(results: Path, student_file: Path, capsys) -> None:
    found = verify_results(results, model=str(student_file))
    assert (found.tiles, found.problems) == (8, ())
    assert found.largest_difference < 1e-5
    assert run(results, "--model", student_file) == 0
    assert "8 tiles graded again" in capsys.readouterr().out


def test_a_changed_table_is_found(results: Path, student_file: Path, capsys) -> None:
    with (results / "tiles.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    rows[3][header.index("p_1")] = "0.9"
    with (results / "tiles.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    assert run(results, "--model", student_file) == 1
    said = capsys.readouterr()
    assert f"differs: tile {rows[3][0]}, {rows[3][1]}" in said.err
    assert "NOT verified" in said.out


def test_another_slide_in_its_place_is_found(
    results: Path, slide_file: Path, student_file: Path, paint_slide: Callable[..., Path]
) -> None:
    paint_slide(slide_file, GRADES[::-1])
    problems = verify_results(results, model=str(student_file)).problems
    assert any("fingerprint" in problem for problem in problems)


def test_another_model_is_found(results: Path, other_student_file: Path, capsys) -> None:
    assert run(results, "--model", other_student_file) == 1
    assert "the model's SHA-256 is" in capsys.readouterr().err


def test_a_moved_slide_is_named(
    results: Path, slide_file: Path, student_file: Path, tmp_path: Path, capsys
) -> None:
    moved = tmp_path / "elsewhere.tif"
    shutil.move(slide_file, moved)
    assert run(results, "--model", student_file) == 2
    assert "does not exist" in capsys.readouterr().err
    assert run(results, "--model", student_file, "--slide", moved) == 0


def test_results_without_a_graded_tile_are_an_error(results: Path, student_file: Path) -> None:
    with (results / "tiles.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    answer = slice(header.index("p_0"), header.index("notice"))
    for row in rows:
        row[answer] = [""] * len(row[answer])
    with (results / "tiles.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    summary["unreadable_tiles"] = [
        {"row": int(row[0]), "column": int(row[1]), "reason": "damaged"} for row in rows
    ]
    summary["graded_tiles"] = 0
    (results / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(OutputError, match=r"asked to verify .* no tile in them is graded"):
        verify_results(results, model=str(student_file))


def test_a_folder_that_cannot_be_looked_into_is_an_error(impossible_folder: Path) -> None:
    assert run(impossible_folder) == 2


@pytest.mark.parametrize("damage", ["no summary", "no table", "cut", "older", "no folder"])
def test_a_damaged_folder_is_an_error(results: Path, student_file: Path, damage: str) -> None:
    summary = results / "summary.json"
    if damage == "no summary":
        summary.unlink()
    elif damage == "no table":
        (results / "tiles.csv").unlink()
    elif damage == "cut":
        summary.write_text(summary.read_text(encoding="utf-8")[:500], encoding="utf-8")
    elif damage == "older":
        content = json.loads(summary.read_text(encoding="utf-8"))
        del content["slide"]["fingerprint"]
        summary.write_text(json.dumps(content), encoding="utf-8")
    else:
        shutil.rmtree(results)
    with pytest.raises(OutputError, match="asked to verify the results in"):
        verify_results(results, model=str(student_file))
