"""Results are verified by grading some of them again."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import shapely

from napari_hmkd.cli.grade import main
from napari_hmkd.cohort import SlideJob, Status, grade_to_folder
from napari_hmkd.errors import OutputError
from napari_hmkd.export import write_results
from napari_hmkd.grading import open_model, start_grading
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.slide import open_slide
from napari_hmkd.verification import verify_results

GRADES = [[0, 1, 2, 3], [3, 2, 1, 0]]


@pytest.fixture
def slide_file(tmp_path: Path, paint_slide: Callable[..., Path]) -> Path:
    return paint_slide(tmp_path / "slide ä.tif", GRADES)


def grade(slide_file: Path, student_file: Path, out: Path) -> Path:
    """The results of the command."""
    with pytest.raises(SystemExit) as ended:
        main([str(slide_file), "--model", str(student_file), "--out", str(out)])
    assert ended.value.code == 0
    return out / slide_file.name


@pytest.fixture
def own_results(slide_file: Path, student_file: Path, tmp_path: Path) -> Path:
    """Of a slide that a test may change or grade again."""
    return grade(slide_file, student_file, tmp_path / "out")


@pytest.fixture(scope="module")
def kept_slide(
    paint_slide: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A slide that no test changes; what its gradings keep is kept beside it."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
            patch.setenv(name, str(folder / "user data"))
        yield paint_slide(folder / "slide ä.tif", GRADES)


@pytest.fixture(scope="module")
def graded(kept_slide: Path, student_file: Path) -> Path:
    return grade(kept_slide, student_file, kept_slide.parent / "out")


@pytest.fixture
def results(graded: Path, tmp_path: Path) -> Path:
    """Graded once; a test's own copy."""
    return Path(shutil.copytree(graded, tmp_path / graded.name))


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


def rewrite_table(results: Path, change: Callable[[dict[str, str]], object]) -> dict[str, str]:
    """Change the fourth row of the table, which is given back."""
    with (results / "tiles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows[3])
    with (results / "tiles.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows[3]


def rewrite_summary(results: Path, *path: str | int, value: object = None) -> None:
    """Change one value of the summary, and empty the list of files, which would tell of the table."""
    file = results / "summary.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["files"] = {}
    part = content
    for name in path[:-1]:
        part = part[name]
    if path:
        assert part[path[-1]] != value
        part[path[-1]] = value
    file.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("column", "value"),
    [("grade", lambda row: (int(row["grade"]) + 1) % 4), ("expected_grade", lambda _: "2.9")],
)
def test_a_column_that_the_probabilities_do_not_give_is_found(
    results: Path, student_file: Path, capsys, column: str, value: Callable
) -> None:
    row = rewrite_table(results, lambda row: row.update({column: value(row)}))
    rewrite_summary(results)
    assert run(results, "--model", student_file) == 1
    said = capsys.readouterr().err
    tile = f"{row['row']}, {row['column']}"
    expected = (
        f"{column} of 1 tile is not what their probabilities say, the first of them tile {tile}"
    )
    assert said.splitlines()[-1] == f"differs: {expected}"


OUTLINE = shapely.box(0, 0, 512, 512)
REGIONS = (MarkedRegion("invasive tumour", OUTLINE), MarkedRegion("else", OUTLINE))


@pytest.fixture(scope="module")
def regional(kept_slide: Path, student_file: Path) -> Path:
    """Of a slide with marked tumour, by tiles that overlap."""
    settings, out = GradeSettings(stride=0.5, device="cpu"), kept_slide.parent / "regional"
    job = SlideJob(str(kept_slide), out, str(student_file), settings, regions=REGIONS)
    assert grade_to_folder(job).status is Status.GRADED
    return job.folder


@pytest.fixture
def regional_results(regional: Path, tmp_path: Path) -> Path:
    """Graded once; a test's own copy."""
    return Path(shutil.copytree(regional, tmp_path / regional.name))


def region_file(path: Path, outline: shapely.Geometry) -> Path:
    """As QuPath exports `REGIONS`, with another outline."""
    geometry = shapely.geometry.mapping(outline)
    features = [
        {"type": "Feature", "geometry": geometry, "properties": {"name": one.name}}
        for one in REGIONS
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    return path


def test_overlapping_tiles_and_regions_agree_and_what_is_not_recomputed_is_told(
    regional_results: Path, student_file: Path, tmp_path: Path, capsys
) -> None:
    arguments = (regional_results, "--model", student_file)
    assert run(*arguments) == 0
    said = capsys.readouterr()
    assert "not recomputed: what of the tiles lies in the regions 'invasive tumour'" in said.err
    assert "all that was recomputed agrees" in said.out
    marked = region_file(tmp_path / "regions.geojson", OUTLINE)
    assert run(*arguments, "--regions", marked) == 0
    said = capsys.readouterr()
    assert "not recomputed" not in said.err
    assert "all agree" in said.out


def test_other_regions_than_those_of_the_results_are_found(
    regional_results: Path, student_file: Path, tmp_path: Path, capsys
) -> None:
    marked = region_file(tmp_path / "other.geojson", OUTLINE.buffer(-9))
    assert run(regional_results, "--model", student_file, "--regions", marked) == 1
    said = capsys.readouterr().err
    assert "differs: the regions given, 'invasive tumour', 'else', are not those of" in said
    assert "not recomputed: the numbers of summary.json" in said
    assert run(regional_results, "--regions", tmp_path / "missing.geojson") == 2
    assert "--slide" not in capsys.readouterr().err


@pytest.mark.parametrize("batches", [None, 2], ids=["whole", "stopped early"])
def test_what_was_not_read_or_not_reached_agrees(
    student_file: Path, paint_slide: Callable[..., Path], tmp_path: Path, batches: int | None
) -> None:
    path = paint_slide(tmp_path / "torn.tif", GRADES, damaged=[(0, 1)])
    with open_slide(path) as slide:
        settings = GradeSettings(batch_size=2, device="cpu")
        grading = start_grading(slide, open_model(student_file), settings)
        for _ in islice(grading.run(), batches):
            continue
        write_results(grading, tmp_path / "out")
    found = verify_results(tmp_path / "out", model=str(student_file))
    assert (found.tiles, found.problems) == (7 if batches is None else 3, ())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("grades", "1+", "area_mm2"), 0.37),
        (("grades", "1+", "share"), 0.37),
        (("graded_tissue_mm2",), 123.0),
        (("expected_grade",), 0.01),
        (("undecided_tiles",), 3),
        (("grade_of_most_area",), None),
        (("regions", 1, "grades", "3+", "share"), 0.37),
        (("regions", 1, "grade_of_most_area"), None),
        (("regions", 1, "graded_tiles"), 3),
        (("regions", 1, "tiles_left"), 3),
        (("regions", 1, "unreadable_tiles"), 3),
        (("regions",), []),
        (("slide_grade", "grade"), None),
        (("slide_grade", "region"), "core"),
        (("complete",), False),
        (("stain", "kind"), "IHC"),
    ],
    ids=str,
)
def test_a_summary_that_the_table_does_not_give_is_found(
    regional_results: Path, student_file: Path, path: tuple[str | int, ...], value: object
) -> None:
    rewrite_summary(regional_results, *path, value=value)
    found = verify_results(regional_results, model=str(student_file), regions=REGIONS)
    problems = found.problems
    (named, *_) = [one for one in problems if str(path[-1]) in one]
    assert named.startswith("summary.json: ")
    assert str(value) in named


def test_a_grid_that_the_slide_does_not_give_is_found(results: Path, student_file: Path) -> None:
    rewrite_summary(results, "tiles", "rows", value=9)
    expected = ("summary.json: the slide has 2 x 4 tiles",)
    assert verify_results(results, model=str(student_file)).problems == expected


def test_a_mask_that_is_no_picture_is_an_error_with_what_helps(
    results: Path, student_file: Path
) -> None:
    (results / "tissue.png").write_bytes(b"no picture")
    with pytest.raises(OutputError, match=r"asked to verify .*tissue\.png.*grade the slide again"):
        verify_results(results, model=str(student_file))


@pytest.mark.parametrize("name", ["tiles.geojson", "report.html", "heatmap.ome.zarr/zarr.json"])
def test_any_changed_or_missing_file_is_found(results: Path, student_file: Path, name: str) -> None:
    (results / name).write_bytes((results / name).read_bytes() + b" ")
    expected = (f"{name} is not as it was written",)
    assert verify_results(results, model=str(student_file)).problems == expected
    (results / name).unlink()
    assert verify_results(results, model=str(student_file)).problems == expected


def test_an_emptied_table_is_told_with_what_helps(
    own_results: Path, slide_file: Path, student_file: Path, capsys
) -> None:
    os.truncate(own_results / "tiles.csv", 0)
    assert run(own_results, "--model", student_file) == 2
    said = capsys.readouterr().err
    assert "tiles.csv cannot be used: it is empty" in said
    assert "--fresh" in said
    assert grade(slide_file, student_file, own_results.parent) == own_results
    assert run(own_results, "--model", student_file) == 0


def test_another_slide_in_its_place_is_found(
    own_results: Path, slide_file: Path, student_file: Path, paint_slide: Callable[..., Path]
) -> None:
    paint_slide(slide_file, GRADES[::-1])
    problems = verify_results(own_results, model=str(student_file)).problems
    assert any("fingerprint" in problem for problem in problems)


def test_another_model_is_found(results: Path, other_student_file: Path, capsys) -> None:
    assert run(results, "--model", other_student_file) == 1
    said = capsys.readouterr().err
    assert "the model's SHA-256 is" in said
    assert "name the file of 'random student'" in said


def test_a_moved_slide_is_named(
    own_results: Path, slide_file: Path, student_file: Path, tmp_path: Path, capsys
) -> None:
    moved = tmp_path / "elsewhere.tif"
    shutil.move(slide_file, moved)
    assert run(own_results, "--model", student_file) == 2
    said = capsys.readouterr().err
    assert "does not exist" in said
    assert "--slide" in said
    assert run(own_results, "--model", student_file, "--slide", moved) == 0


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


@pytest.mark.parametrize(
    "key",
    [
        "files",
        "key.overlap",
        "request",
        "slide.fingerprint",
        "slide_grade.region",
        "tiles.only_in_regions",
    ],
)
def test_a_key_that_the_summary_lacks_is_named_with_what_helps(
    results: Path, student_file: Path, key: str
) -> None:
    content = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    *parts, last = key.split(".")
    inner = content
    for part in parts:
        inner = inner[part]
    del inner[last]
    (results / "summary.json").write_text(json.dumps(content), encoding="utf-8")
    message = f"{key}: Field required; .*or grade the slide again"
    with pytest.raises(OutputError, match=message):
        verify_results(results, model=str(student_file))


@pytest.mark.parametrize("damage", ["no summary", "no table", "cut", "no folder"])
def test_a_damaged_folder_is_an_error(results: Path, student_file: Path, damage: str) -> None:
    summary = results / "summary.json"
    if damage == "no summary":
        summary.unlink()
    elif damage == "no table":
        (results / "tiles.csv").unlink()
    elif damage == "cut":
        summary.write_text(summary.read_text(encoding="utf-8")[:500], encoding="utf-8")
    else:
        shutil.rmtree(results)
    with pytest.raises(OutputError, match="asked to verify the results in"):
        verify_results(results, model=str(student_file))
