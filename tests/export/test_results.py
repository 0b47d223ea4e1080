"""What the result files say."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from napari_hmkd.export import write_results
from napari_hmkd.export.summary import summarise
from napari_hmkd.grading import OpenModel, SlideGrading, start_grading
from napari_hmkd.slide import find_tissue, open_slide
from napari_hmkd.slide.overview import read_overview

GRADES = [[0, 1, -1], [3, 2, 3]]


@pytest.fixture
def grading(grade_painted: Callable[..., SlideGrading]) -> SlideGrading:
    return grade_painted(GRADES, [(1, 0)])


@pytest.fixture
def results(tmp_path: Path, grading: SlideGrading) -> Path:
    folder = tmp_path / "out" / "Gewebe ü.tif"
    write_results(grading, folder)
    return folder


@pytest.fixture
def summary(results: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((results / "summary.json").read_text(encoding="utf-8"))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "tiles.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_columns_are_those_promised(results: Path) -> None:
    header = (results / "tiles.csv").read_text(encoding="utf-8").partition("\n")[0]
    assert header == (
        "row,column,y_px,x_px,tissue_fraction,p_0,p_1,p_2,p_3,grade,expected_grade,notice"
    )


def test_every_row_carries_the_models_notice(results: Path, grading: SlideGrading) -> None:
    notice = grading.plan.card.notice
    assert notice
    assert {row["notice"] for row in table(results)} == {notice}


def test_the_table_has_a_row_for_each_tile_tried(results: Path, grading: SlideGrading) -> None:
    rows = table(results)
    places = [(int(row["row"]), int(row["column"])) for row in rows]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    for row, place in zip(rows, places, strict=True):
        if place == (1, 0):
            continue
        assert (float(row["y_px"]), float(row["x_px"])) == (256 * place[0], 256 * place[1])
        assert int(row["grade"]) == GRADES[place[0]][place[1]]
        p = [float(row[f"p_{k}"]) for k in range(4)]
        assert p == pytest.approx(grading.heatmap.probabilities[place], abs=1e-6)
        assert float(row["expected_grade"]) == pytest.approx(np.dot(p, range(4)), abs=1e-5)


def test_no_number_looks_like_thousands(results: Path) -> None:
    """Where a point groups digits, spreadsheets would take 256.000 for 256000, without a word."""
    cells = [cell for row in table(results) for cell in row.values()]
    assert "256.0000" in cells
    assert [cell for cell in cells if re.fullmatch(r"-?\d+\.\d{3}", cell)] == []


def test_an_unreadable_tile_keeps_its_row_and_is_listed(results: Path, summary: dict) -> None:  # type: ignore[type-arg]
    row = table(results)[2]
    assert (row["row"], row["column"], row["y_px"]) == ("1", "0", "256.0000")
    assert {row[name] for name in ("p_0", "p_3", "grade", "expected_grade")} == {""}
    (tile,) = summary["unreadable_tiles"]
    assert (tile["row"], tile["column"]) == (1, 0)
    assert tile["reason"]


def test_the_summary_says_what_was_graded_and_with_what(
    summary: dict,  # type: ignore[type-arg]
    colour_model: OpenModel,
) -> None:
    slide = summary["slide"]
    assert slide["name"] == "Gewebe ü.tif"
    assert (slide["height_px"], slide["width_px"]) == (512, 768)
    assert slide["mpp"] == pytest.approx([4.0, 4.0])
    assert slide["mpp_source"]
    assert slide["enlargement"] == 1.0
    assert summary["tiles"]["step_level0_px"] == pytest.approx([256.0, 256.0])
    assert (summary["tiles"]["rows"], summary["tiles"]["columns"]) == (2, 3)
    assert summary["model"]["name"] == "colours"
    assert summary["model"]["sha256"] == colour_model.sha256()
    assert {"python", "torch", "napari-hmkd", "openslide-python", "tifffile"} <= set(
        summary["versions"]
    )
    assert summary["device"]
    unread = "1 tile could not be read or graded"
    assert summary["warnings"] == [summary["notice"], unread]


def test_the_summary_gives_area_and_share_per_grade_and_its_limits(summary: dict) -> None:  # type: ignore[type-arg]
    assert list(summary["grades"]) == ["0", "1+", "2+", "3+"]
    assert [g["share"] for g in summary["grades"].values()] == pytest.approx([0.25] * 4, abs=0.02)
    assert summary["grades"]["2+"]["area_mm2"] == pytest.approx(1.024**2, rel=0.05)
    assert summary["use"] == "research use only"
    assert summary["meaning"] == "by area of tiles, not by cells: not an ASCO/CAP score"
    assert summary["notice"] == "painted squares, research use only"


def test_the_tissue_is_saved_with_its_pixel_size(
    results: Path,
    summary: dict,  # type: ignore[type-arg]
    grading: SlideGrading,
) -> None:
    tissue = grading.plan.tissue
    assert summary["tissue"] == {
        "file": "tissue.png",
        "mpp": pytest.approx(list(tissue.mpp)),
        "edited": False,
    }
    assert summary["request"]["tissue_painted"] is False
    with Image.open(results / summary["tissue"]["file"]) as picture:
        assert picture.mode == "L"
        pixels = np.array(picture)
    assert set(np.unique(pixels)) == {0, 255}
    np.testing.assert_array_equal(pixels == 255, tissue.mask)
    size_um = np.array(pixels.shape) * summary["tissue"]["mpp"]
    assert size_um == pytest.approx([512 * 4.0, 768 * 4.0])


def test_a_painted_mask_is_said_to_be_painted(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", [[0, 1], [2, 3]])) as slide:
        found = find_tissue(slide)
        painted = found.mask.copy()
        painted[: len(painted) // 2] = False
        tissue = replace(found, mask=painted, edited=True)
        grading = start_grading(slide, colour_model, tissue=tissue)
        list(grading.run())
        write_results(grading, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["tissue"]["edited"] is summary["request"]["tissue_painted"] is True
    np.testing.assert_array_equal(
        np.array(Image.open(tmp_path / "out" / "tissue.png")) > 0, painted
    )
    assert {row["row"] for row in table(tmp_path / "out")} == {"1"}


def test_where_tissue_cannot_be_told_there_is_no_mask_and_no_older_one_stays(
    tmp_path: Path, grading: SlideGrading, results: Path
) -> None:
    assert (results / "tissue.png").is_file()
    (results / "notes of mine.txt").touch()
    forced = replace(grading, plan=replace(grading.plan, tissue=None))
    write_results(forced, results)
    assert sorted(entry.name for entry in results.iterdir()) == [
        "heatmap.ome.zarr",
        "heatmap.png",
        "notes of mine.txt",
        "report.html",
        "summary.json",
        "tiles.csv",
        "tiles.geojson",
        "tiles.parquet",
    ]
    assert json.loads((results / "summary.json").read_text(encoding="utf-8"))["tissue"] is None


def test_the_speed_is_of_the_tiles_that_were_tried_in_this_run(
    grade_painted: Callable[..., SlideGrading],
) -> None:
    grading = grade_painted([[0, 1, 2], [3, 0, 1]], [(0, 0)], batches=2)
    grading.resumed_tiles, grading.seconds = 1, 1.5
    assert summarise(grading)["tiles_per_second"] == 2.0  # of four that were tried, one was before
    grading.seconds = 0.0
    assert summarise(grading)["tiles_per_second"] is None


def test_the_summary_says_what_the_slide_looks_like(
    summary: dict,  # type: ignore[type-arg]
    grading: SlideGrading,
) -> None:
    stain = grading.plan.stain
    assert summary["stain"] == {"kind": stain.kind.value, "reason": stain.reason}
    assert stain.reason


def test_a_grading_that_was_stopped_says_so(
    tmp_path: Path, grade_painted: Callable[..., SlideGrading]
) -> None:
    write_results(grade_painted([[0, 1], [2, 3]], batches=1), tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert any("2 of 4 tiles were not graded" in warning for warning in summary["warnings"])


def test_a_slide_is_read_once_for_all_pictures_of_it(
    grade_painted: Callable[..., SlideGrading], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grading = grade_painted([[0, 1]])
    read = Mock(wraps=read_overview)  # without small levels it decodes the whole slide
    monkeypatch.setattr("napari_hmkd.slide.slide.read_overview", read)
    write_results(grading, tmp_path / "out")
    read.assert_called_once()
