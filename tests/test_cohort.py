"""Many slides in one call: what is done is skipped, what fails is told, no slide is lost."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tifffile

from napari_hmkd import cohort
from napari_hmkd.cli.grade import main
from napari_hmkd.cohort import (
    SlideJob,
    Status,
    grade_to_folder,
)
from napari_hmkd.errors import SlideError
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import regions_of_shapes
from napari_hmkd.slide.finding import find_slides

GRADES = {"a.tif": [[0, 1], [2, 3]], "b ä.tif": [[3, 3], [3, 0]], "c.tif": [[1, 1], [1, 1]]}
SETTINGS = GradeSettings(batch_size=2, device="cpu")


@pytest.fixture
def slides(tmp_path: Path, paint_slide: Callable[..., Path]) -> Path:
    """A folder of three slides, a broken one and what is no slide."""
    folder = tmp_path / "Studie 1"
    folder.mkdir()
    for name, grades in GRADES.items():
        paint_slide(folder / name, grades)
    (folder / "broken.svs").write_bytes(b"no slide")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    (folder / "empty").mkdir()
    return folder


def grade(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return int(ended.value.code or 0)


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "cohort.csv").open(encoding="utf-8", newline="") as file:
        return {Path(row["slide"]).name: row for row in csv.DictReader(file)}


def test_a_folder_stands_for_the_slides_in_it(slides: Path, write_zarr) -> None:
    import numpy as np

    store = slides / "d.ome.zarr"
    write_zarr(store, [np.zeros((64, 64, 3), np.uint8)])
    names = ["a.tif", "b ä.tif", "broken.svs", "c.tif", "d.ome.zarr"]
    assert [Path(one).name for one in find_slides([str(slides)])] == names
    given = [str(store), "https://host/e.zarr", str(slides / "missing.svs")]
    assert find_slides(given) == given
    with pytest.raises(SlideError, match="there is none in it"):
        find_slides([str(slides / "empty")])


def test_what_fails_is_told_and_the_rest_goes_on_and_is_skipped_the_next_time(
    slides: Path, student_file: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    command = (slides, "--model", student_file, "--device", "cpu", "--out", out)
    assert grade(*command) == 2
    rows = table(out)
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.tif": "graded", "b ä.tif": "graded", "broken.svs": "failed", "c.tif": "graded",
    }  # fmt: skip
    assert "broken.svs" in rows["broken.svs"]["message"]
    summary = json.loads((out / "b ä.tif" / "summary.json").read_text(encoding="utf-8"))
    assert float(rows["b ä.tif"]["expected_grade"]) == pytest.approx(summary["expected_grade"])
    assert float(rows["b ä.tif"]["share_3"]) == summary["grades"]["3+"]["share"]
    assert rows["a.tif"]["notice"] == "random weights, research use only"
    numbers = [cell for row in rows.values() for cell in row.values()]
    assert [cell for cell in numbers if re.fullmatch(r"\d+\.\d{3}", cell)] == [], "as thousands are"
    page = (out / "cohort.html").read_text(encoding="utf-8")
    assert "3 graded, 1 failed." in page
    assert "Random weights, research use only." in page
    assert 'href="b%20%C3%A4.tif/report.html"' in page
    assert "broken.svs" in page
    assert str(slides) not in page
    assert page.count("not restricted to invasive tumour") == 3
    shares = (f"{k}: {one['share']:.1%}" for k, one in summary["grades"].items())
    assert f'aria-label="{", ".join(shares)}"'.replace("%", " %") in page
    assert "print-color-adjust: exact" in page
    assert "not restricted to invasive tumour" in rows["a.tif"]["reason_of_that_grade"]
    capsys.readouterr()

    written = (out / "a.tif" / "summary.json").stat().st_mtime_ns
    (slides / "broken.svs").unlink()
    assert grade(*command) == 0
    assert {row["status"] for row in table(out).values()} == {"graded before"}
    assert (out / "a.tif" / "summary.json").stat().st_mtime_ns == written
    assert "graded before" in capsys.readouterr().out
    assert grade(*command, "--fresh") == 0
    assert {row["status"] for row in table(out).values()} == {"graded"}


def test_a_name_that_is_no_utf8_fails_alone(
    slides: Path, student_file: Path, tmp_path: Path, capsys
) -> None:
    """As folders have them that come from old systems; only some file systems hold them."""
    try:
        (slides / "c.tif").rename(slides / os.fsdecode(b"f\xfcr.tif"))
    except (OSError, UnicodeError):
        pytest.skip("this file system holds no such name")
    (slides / "broken.svs").unlink()
    out = tmp_path / "out"
    assert grade(slides, "--model", student_file, "--device", "cpu", "--out", out) == 2
    said = capsys.readouterr().err
    assert "is no UTF-8" in said
    assert "Rename it" in said
    assert len(said) < 1000
    failed = r"f\udcfcr.tif"
    assert {name: row["status"] for name, row in table(out).items()} == {
        "a.tif": "graded", "b ä.tif": "graded", failed: "failed",
    }  # fmt: skip
    assert failed in (out / "cohort.html").read_text(encoding="utf-8")
    assert sorted(one.name for one in out.iterdir() if one.is_dir()) == ["a.tif", "b ä.tif"]


def test_a_slide_whose_pixel_size_is_stated_by_hand_joins_its_cohort(
    slides: Path, student_file: Path, tmp_path: Path
) -> None:
    with tifffile.TiffFile(slides / "c.tif") as tiff:
        pixels = tiff.asarray()
    tifffile.imwrite(slides / "c.tif", pixels, photometric="rgb", tile=(256, 256))
    (slides / "broken.svs").unlink()
    out = tmp_path / "out"
    command = ("--model", student_file, "--device", "cpu", "--out", out)
    statuses = {"a.tif": "graded", "b ä.tif": "graded", "c.tif": "failed"}
    assert grade(slides, *command) == 2
    assert {name: row["status"] for name, row in table(out).items()} == statuses
    assert grade(slides / "c.tif", "--mpp", 4, *command) == 0
    rows = table(out)
    assert {name: row["status"] for name, row in rows.items()} == {**statuses, "c.tif": "graded"}
    assert grade(slides, *command) == 0
    again = table(out)
    assert {row["status"] for row in again.values()} == {str(Status.SKIPPED)}
    assert {n: row["provenance"] for n, row in again.items()} == {
        name: row["provenance"] for name, row in rows.items()
    }


def test_a_run_over_some_slides_keeps_the_rows_of_those_that_are_still_there(
    slides: Path, student_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("--model", student_file, "--device", "cpu", "--out", out)
    assert grade(slides, *command) == 2
    whole = table(out)
    shutil.rmtree(out / "b ä.tif")
    assert grade(slides / "a.tif", *command) == 0
    assert list(table(out)) == ["a.tif", "broken.svs", "c.tif"]
    (slides / "broken.svs").unlink()
    assert grade(slides / "a.tif", *command) == 0
    rows = table(out)
    assert list(rows) == ["a.tif", "c.tif"]
    assert rows["c.tif"] == whole["c.tif"]
    assert 'href="c.tif/report.html"' in (out / "cohort.html").read_text(encoding="utf-8")


def test_a_table_that_cannot_be_read_stops_a_run_before_a_slide_is_graded(
    slides: Path, student_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "cohort.csv").write_text("slide;status;message\n", encoding="utf-8")
    assert grade(slides, "--model", student_file, "--device", "cpu", "--out", out) == 2
    assert "save it as CSV in UTF-8 with commas" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["cohort.csv"]


def test_one_slide_has_no_table(slides: Path, student_file: Path, tmp_path: Path) -> None:
    assert grade(slides / "a.tif", "--model", student_file, "--out", tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.tif"]


def job(slides: Path, name: str, model: Path, out: Path) -> SlideJob:
    kept = out.parent / "kept"
    return SlideJob(str(slides / name), out / name, str(model), SETTINGS, kept_in=kept)


CORNER = [(0, 0), (0, 300), (300, 300), (300, 0)]
REGIONS = regions_of_shapes([("invasive tumour", [("polygon", CORNER)])])


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    ["slide", "model", "settings", "results", "origin", "no regions", "outline", "only regions"],
)
def test_a_changed_job_is_done_anew(
    slides: Path,
    student_file: Path,
    other_student_file: Path,
    tmp_path: Path,
    paint_slide: Callable[..., Path],
    change: str,
) -> None:
    first = replace(job(slides, "a.tif", student_file, tmp_path / "out"), regions=REGIONS)
    assert grade_to_folder(first).status is Status.GRADED
    assert grade_to_folder(first).status is Status.SKIPPED
    second = first
    if change == "slide":
        paint_slide(slides / "a.tif", [[3, 3], [3, 3]])
    elif change == "model":
        second = replace(first, model=str(other_student_file))
    elif change == "settings":
        second = replace(first, settings=replace(SETTINGS, min_tissue_fraction=0.9))
    elif change == "origin":
        second = replace(first, geojson_origin="file")
    elif change == "no regions":
        second = replace(first, regions=())
    elif change == "outline":
        wider = [(y, 2 * x) for y, x in CORNER]
        marked = regions_of_shapes([("invasive tumour", [("polygon", wider)])])
        second = replace(first, regions=marked)
    elif change == "only regions":
        second = replace(first, settings=replace(SETTINGS, only_regions=True))
    else:
        os.truncate(first.folder / "summary.json", 100)
    assert grade_to_folder(second).status is Status.GRADED
    assert grade_to_folder(second).status is Status.SKIPPED


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: os.truncate(folder / "tiles.csv", 0),
        lambda folder: os.truncate(folder / "report.html", 0),
        lambda folder: shutil.rmtree(folder / "heatmap.ome.zarr"),
        lambda folder: [
            os.truncate(one, 0) for one in (folder / "heatmap.ome.zarr").rglob("*.json")
        ],
        lambda folder: (folder / "heatmap.png").unlink(),
    ],
    ids=["table", "report", "no heatmap", "heatmap", "no picture"],
)
def test_results_that_lost_something_are_written_anew(
    slides: Path, student_file: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    one = job(slides, "a.tif", student_file, tmp_path / "out")
    before = grade_to_folder(one).summary["files"]
    assert grade_to_folder(one).status is Status.SKIPPED
    damage(one.folder)
    again = grade_to_folder(one)
    assert again.status is Status.GRADED
    assert again.summary["files"]["tiles.csv"] == before["tiles.csv"]
    assert grade_to_folder(one).status is Status.SKIPPED


@pytest.mark.parametrize("summary", ["{}", '{"files": []}', '{"files": {}, "slide": null}'])
def test_what_is_no_summary_of_this_program_is_written_anew(
    slides: Path, student_file: Path, tmp_path: Path, summary: str
) -> None:
    one = job(slides, "a.tif", student_file, tmp_path / "out")
    one.folder.mkdir(parents=True)
    (one.folder / "summary.json").write_text(summary, encoding="utf-8")
    assert grade_to_folder(one).status is Status.GRADED
    assert grade_to_folder(one).status is Status.SKIPPED


def test_results_whose_summary_lacks_an_entry_are_written_anew(
    slides: Path, student_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job(slides, "a.tif", student_file, tmp_path / "out")
    whole = grade_to_folder(one).summary
    assert grade_to_folder(one).status is Status.SKIPPED
    monkeypatch.setattr(cohort, "write_results", lambda *_: whole)
    for lacking in whole:
        rest = {name: said for name, said in whole.items() if name != lacking}
        (one.folder / "summary.json").write_text(json.dumps(rest), encoding="utf-8")
        assert grade_to_folder(one).status is Status.GRADED, lacking


def test_results_that_another_run_replaces_at_once_are_told_all_the_same(
    slides: Path, student_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = cohort.write_results, []

    def write_and_lose(*arguments: object) -> dict[str, Any]:
        summary = write(*arguments)
        written.append(json.loads((one.folder / "summary.json").read_text(encoding="utf-8")))
        shutil.rmtree(one.folder)
        return summary

    one = job(slides, "a.tif", student_file, tmp_path / "out")
    monkeypatch.setattr(cohort, "write_results", write_and_lose)
    assert [grade_to_folder(one).summary] == written


def test_a_folder_that_was_closed_meanwhile_is_told_without_a_traceback(
    slides: Path, student_file: Path, closed_folder: Path, caplog
) -> None:
    outcome = grade_to_folder(job(slides, "a.tif", student_file, closed_folder))
    assert outcome.status is Status.FAILED
    assert outcome.message.startswith(f"asked to write results to {closed_folder}")
    assert "Permission denied" in outcome.message
    assert not caplog.records
