"""`napari-hmkd-grade`: results, exit codes, and messages instead of tracebacks."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile
from tests.cli.conftest import GRADES, PaintSlide, names
from typer.testing import Result

from napari_hmkd.export.folder import RESULTS
from napari_hmkd.geometry import Region
from napari_hmkd.grading import SlideGrading, open_model, start_grading
from napari_hmkd.inference import GradedBatch
from napari_hmkd.planning import GradeSettings
from napari_hmkd.slide import open_slide

FILES = sorted(RESULTS.entries)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "tiles.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def test_a_slide_gets_its_folder_of_results(
    tmp_path: Path, slide: Path, grade: Callable[..., Result]
) -> None:
    out = tmp_path / "Ergebnisse ß"
    result = grade(slide, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert names(out) == [slide.name]
    assert names(out / slide.name) == FILES
    assert len(table(out / slide.name)) == 5
    assert "research use only" in result.stdout
    assert "random weights, research use only" in result.stderr


def test_one_tile_is_one_tile(
    tmp_path: Path, paint_slide: PaintSlide, grade: Callable[..., Result]
) -> None:
    one = paint_slide(tmp_path / "one.tif", [[1]])
    assert "; 1 tile; no grade" in grade(one, "--out", tmp_path / "out").stdout


def test_what_is_odd_about_a_file_is_told_everywhere(
    tmp_path: Path, slide: Path, grade: Callable[..., Result]
) -> None:
    """Further images that are not graded, and a colour profile that cannot be used."""
    scans = tmp_path / "two.tif"
    pixels = tifffile.imread(slide)
    options = {"photometric": "rgb", "tile": (256, 256), "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(scans) as tiff:
        tiff.write(pixels, resolution=(2500, 2500), resolutionunit=3, iccprofile=b"?", **options)
        tiff.write(pixels[:256], **options)
    result = grade(scans, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    page = (tmp_path / "out" / "two.tif" / "report.html").read_text(encoding="utf-8")
    warnings = summary(tmp_path / "out" / "two.tif")["warnings"]
    for words in ("holds 2 images that may be slides", "ICC profile cannot be used"):
        assert sum(words in one for one in warnings) == 1
        assert words in result.stderr
        assert words in page


def test_the_table_is_that_of_the_function_the_button_calls(
    tmp_path: Path, slide: Path, grade: Callable[..., Result], student_file: Path
) -> None:
    grade(slide, "--out", tmp_path / "out", "--batch-size", 2)
    with open_slide(slide) as opened:
        grading = start_grading(opened, open_model(student_file), GradeSettings(device="cpu"))
        list(grading.run())
    for row in table(tmp_path / "out" / slide.name):
        expected = grading.heatmap.probabilities[int(row["row"]), int(row["column"])]
        found = [float(row[f"p_{k}"]) for k in range(4)]
        assert found == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Invasive tumor", "grade of the region 'Invasive tumor': "),
        (
            "stroma",
            "no grade of the slide: not restricted to invasive tumour: no region is called ",
        ),
    ],
)
def test_regions_and_the_grade_by_area_or_why_there_is_none_are_told(
    tmp_path: Path, slide: Path, grade: Callable[..., Result], name: str, said: str
) -> None:
    corners = [[0, 0], [512, 0], [512, 256], [0, 256], [0, 0]]
    marked = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"name": name},
    }
    (tmp_path / "marked.geojson").write_text(json.dumps(marked), encoding="utf-8")
    command = slide, "--out", tmp_path / "out"
    result = grade(*command, "--regions", tmp_path / "marked.geojson")
    first, second = result.stdout.splitlines()
    assert said in first
    assert second.startswith(f"  region '{name}': 0: ")
    assert second.endswith("; 2 tiles")
    again = grade(*command).stdout
    assert "no region was marked" in again
    assert "graded before" not in again, "these are results of another request"


def test_several_slides_and_the_worst_exit_code(
    tmp_path: Path, paint_slide: PaintSlide, slide: Path, grade: Callable[..., Result]
) -> None:
    damaged = paint_slide(tmp_path / "damaged.tif", GRADES, damaged=[(1, 0)])
    missing = tmp_path / "missing.svs"
    out = tmp_path / "out"
    assert grade(slide, damaged, "--out", out).exit_code == 3
    assert names(out) == [slide.name, "cohort.csv", "cohort.html", "damaged.tif"]
    result = grade(missing, slide, damaged, "--out", tmp_path / "other")
    assert result.exit_code == 2
    assert "missing.svs" in result.stderr
    assert names(tmp_path / "other") == names(out)


def test_unreadable_tiles_are_marked_and_listed(
    tmp_path: Path, paint_slide: PaintSlide, grade: Callable[..., Result]
) -> None:
    path = paint_slide(tmp_path / "damaged.tif", GRADES, damaged=[(1, 0)])
    result = grade(path, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "1 tile could not be read" in result.stderr
    folder = tmp_path / "out" / path.name
    assert [row["grade"] == "" for row in table(folder)] == [False, False, True, False, False]
    assert [(t["row"], t["column"]) for t in summary(folder)["unreadable_tiles"]] == [(1, 0)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken.svs", "broken.svs"),
        ("unopenable.tiff", "unopenable.tiff"),
        ("unreadable.svs", "unreadable.svs"),
        ("boxes.tiff", "--mpp"),
        ("tcga-cr-7395-01a-01-ts1.svs", "--mpp"),
        ("fluorescence.ndpi", "brightfield"),
        ("not there.svs", "not there.svs"),
    ],
)
def test_bad_slides_end_with_2_a_plain_message_and_nothing_written(
    tmp_path: Path, shared_data: Path, grade: Callable[..., Result], name: str, said: str
) -> None:
    result = grade(shared_data / "slides" / name, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no slide", b"II*\0\x08\0\0\0"])
def test_a_file_that_is_no_slide_or_was_cut_off(
    tmp_path: Path, grade: Callable[..., Result], content: bytes
) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(content)
    result = grade(path, "--out", tmp_path / "out")
    assert (result.exit_code, names(tmp_path / "out")) == (2, [])
    assert "slide.tif" in result.stderr


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(
    tmp_path: Path, slide: Path, grade: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (slide, "--out", tmp_path / "out", "--batch-size", "2")
    run = SlideGrading.run

    def interrupted(self: SlideGrading) -> Iterator[GradedBatch]:
        yield next(run(self))
        raise KeyboardInterrupt

    with monkeypatch.context() as ctrl_c:
        ctrl_c.setattr(SlideGrading, "run", interrupted)
        result = grade(*command, "--fresh")
        assert (result.exit_code, names(tmp_path / "out")) == (130, [])
        assert f"{slide.name}: stopped; no tiles are kept\n" in result.stderr
        result = grade(*command)
        assert (result.exit_code, names(tmp_path / "out")) == (130, [])
        assert "stopped; 2 tiles are kept, and the same command goes on" in result.stderr
    assert "2 tiles were graded before" in grade(*command).stderr


def test_a_truncated_slide(tmp_path: Path, slide: Path, grade: Callable[..., Result]) -> None:
    cut = tmp_path / "cut.tif"
    cut.write_bytes(slide.read_bytes()[:-200])
    result = grade(cut, "--out", tmp_path / "out")
    assert (result.exit_code, names(tmp_path / "out")) == (2, [])
    assert "cut.tif" in result.stderr


def test_a_missing_pixel_size_can_be_stated(
    tmp_path: Path, shared_data: Path, grade: Callable[..., Result]
) -> None:
    name = "tcga-cr-7395-01a-01-ts1.svs"
    slide = shared_data / "slides" / name
    assert grade(slide, "--out", tmp_path, "--mpp", 0.5).exit_code == 0
    found = summary(tmp_path / name)["slide"]
    assert (found["mpp"], found["mpp_source"]) == ([0.5, 0.5], "user")


@pytest.mark.parametrize("mpp", ["-1", "0", "353", "nan"])
def test_a_pixel_size_no_slide_has_is_refused(
    tmp_path: Path, slide: Path, grade: Callable[..., Result], mpp: str
) -> None:
    result = grade(slide, "--out", tmp_path / "out", f"--mpp={mpp}")
    assert (result.exit_code, names(tmp_path / "out")) == (2, [])
    assert "um/px" in result.stderr


@pytest.mark.parametrize("backend", ["openslide", "tifffile"])
def test_a_back_end_can_be_insisted_on(
    tmp_path: Path, slide: Path, grade: Callable[..., Result], backend: str
) -> None:
    assert grade(slide, "--out", tmp_path / "out", "--backend", backend).exit_code == 0
    assert summary(tmp_path / "out" / slide.name)["slide"]["backend"] == backend


@pytest.mark.parametrize(("backend", "said"), [("zarr", "no zarr store"), ("none", "openslide")])
def test_a_back_end_that_cannot_is_refused(
    tmp_path: Path, slide: Path, grade: Callable[..., Result], backend: str, said: str
) -> None:
    result = grade(slide, "--out", tmp_path / "out", "--backend", backend)
    assert (result.exit_code, names(tmp_path / "out")) == (2, [])
    assert said in result.stderr


@pytest.mark.parametrize(("origin", "corner"), [("slide", [0, 0]), ("file", [256, 256])])
def test_where_the_geojson_of_a_part_that_was_scanned_counts_from(
    tmp_path: Path,
    slide: Path,
    grade: Callable[..., Result],
    state_bounds: Callable[..., None],
    origin: str,
    corner: list[int],
) -> None:
    state_bounds(y=256, x=256, height=256, width=512)
    out = tmp_path / "out"
    result = grade(slide, "--out", out, "--backend", "openslide", "--geojson-origin", origin)
    assert result.exit_code == 0, result.stderr
    collection = json.loads((out / slide.name / "tiles.geojson").read_text(encoding="ascii"))
    outlines = [one["geometry"]["coordinates"][0] for one in collection["features"]]
    points = [point for outline in outlines for point in outline]
    assert [min(axis) for axis in zip(*points, strict=True)] == corner
    assert collection["napari_hmkd"]["origin"] == origin
    assert summary(out / slide.name)["slide"]["origin_in_file_px"] == [256, 256]


def test_a_slide_on_a_server(
    tmp_path: Path, slide: Path, grade: Callable[..., Result], write_zarr, serve
) -> None:
    with open_slide(slide) as opened:
        pixels = opened.read_level(0, Region(0, 0, 512, 768))
    write_zarr(tmp_path / "served/Schnitt ä.ome.zarr", [pixels], scale=4.0, chunk_px=256)
    with serve(tmp_path / "served") as server:
        url = f"{server.url}/Schnitt ä.ome.zarr"
        result = grade(url, slide, "--out", tmp_path / "out")
        failed = grade(f"{server.url}/missing.zarr", "--out", tmp_path / "other")
    assert result.exit_code == 0, result.stderr
    assert {"Schnitt ä.ome.zarr", slide.name} <= set(names(tmp_path / "out"))
    found = summary(tmp_path / "out/Schnitt ä.ome.zarr")["slide"]
    assert (found["name"], found["path"]) == ("Schnitt ä.ome.zarr", url)
    assert table(tmp_path / "out/Schnitt ä.ome.zarr") == table(tmp_path / "out" / slide.name)
    assert failed.exit_code == 2
    assert "missing.zarr" in failed.stderr


def test_the_program_runs_without_a_screen_and_says_nothing_but_its_results(
    tmp_path: Path, slide: Path, student_file: Path
) -> None:
    command = "import sys; from napari_hmkd.cli.grade import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", command, slide, "--out", tmp_path / "out", "--model", student_file],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n") == 1
    assert done.stderr.decode().splitlines() == ["notice: random weights, research use only"]
