"""`napari-hmkd-grade attention` as a user meets it."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile

from napari_hmkd.alignment import align_by_matrix, save_alignment
from napari_hmkd.cli.grade import main
from napari_hmkd.export.attention import ALIGNMENT_FILE, ATTENTION
from napari_hmkd.geometry import Size
from napari_hmkd.grading import open_model
from napari_hmkd.inspection.tile import inspect_tile
from napari_hmkd.planning import read_tile, tile_grid
from napari_hmkd.slide import open_slide

undrawn = pytest.mark.usefixtures("undrawn_figures")
undoubted = pytest.mark.usefixtures("no_doubts")
GRADES = [[0, 1, 2], [3, 2, 1]]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["attention", *map(str, arguments)])
    return int(ended.value.code or 0)


@pytest.fixture
def he_file(tmp_path: Path, paint_slide: Callable[..., Path]) -> Path:
    return paint_slide(tmp_path / "gewebe ä.tif", GRADES)


@pytest.fixture
def ihc_file(tmp_path: Path) -> Path:
    """Brown and blue noise, 300 px lower and 200 further right than the H&E."""
    rng = np.random.default_rng(0)
    pixels = rng.integers((90, 60, 40), (210, 180, 190), (1024, 1024, 3)).astype(np.uint8)
    resolution = {"resolution": (2500, 2500), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "ihc.tif", pixels, photometric="rgb", tile=(256, 256), **resolution)
    return tmp_path / "ihc.tif"


@pytest.fixture
def alignment_file(tmp_path: Path, he_file: Path, ihc_file: Path) -> Path:
    with open_slide(he_file) as he, open_slide(ihc_file) as ihc:
        shift = np.array([[1, 0, 300 * 4.0], [0, 1, 200 * 4.0]])
        save_alignment(tmp_path / "a.json", align_by_matrix(he, ihc, shift))
    return tmp_path / "a.json"


@pytest.fixture
def no_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare a test the search for what speaks against the IHC, which others ask for."""
    monkeypatch.setattr("napari_hmkd.attention_report.doubts_of_ihc", lambda *_: [])


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "attention.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_each_tile_is_that_of_both_stains_through_the_alignment(
    he_file: Path,
    ihc_file: Path,
    alignment_file: Path,
    student_file: Path,
    teacher_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    models = ["--student", student_file, "--teacher", teacher_file]
    stains = [he_file, "--ihc", ihc_file, "--alignment", alignment_file]
    assert run(*stains, *models, "--out", out) == 0
    folder = out / f"{he_file.name}.attention"
    assert {path.name for path in folder.iterdir()} == ATTENTION.entries
    assert "6 of 6 tiles" in capsys.readouterr().out
    student, teacher = open_model(student_file), open_model(teacher_file, "teacher")
    with open_slide(he_file) as he, open_slide(ihc_file) as ihc:
        grid = tile_grid(he, student.card)
        for row in table(folder):
            tile = int(row["row"]), int(row["column"])
            origin = grid.origins(tile)[0] + (300, 200)
            below = ihc.read(
                (origin[0], origin[1]), Size(grid.tile_px, grid.tile_px), grid.model_mpp
            )
            expected = inspect_tile(student, read_tile(he, grid, tile), teacher, below)
            assert float(row["attention_loss"]) == pytest.approx(
                expected.losses["attention"], rel=1e-3
            )
    about = json.loads((folder / "attention.json").read_text(encoding="utf-8"))
    assert about["alignment"]["method"] == "given"
    assert about["models"]["teacher"]["sha256"] == teacher.sha256()
    (doubt,) = about["warnings"]
    assert "does not look like the IHC" in doubt, "it is noise"


@undrawn
def test_an_ihc_that_looks_like_the_he_is_doubted(
    he_file: Path, student_file: Path, teacher_file: Path, tmp_path: Path, capsys
) -> None:
    with open_slide(he_file) as he:
        save_alignment(tmp_path / "a.json", align_by_matrix(he, he, np.eye(3)))
    stains = [he_file, "--ihc", he_file, "--alignment", tmp_path / "a.json"]
    models = ["--student", student_file, "--teacher", teacher_file]
    assert run(*stains, *models, "--out", tmp_path / "out") == 0
    assert "given as the IHC, looks like" in capsys.readouterr().err


def test_without_ihc_the_student_is_looked_into_alone(
    he_file: Path, student_file: Path, tmp_path: Path
) -> None:
    assert run(he_file, "--student", student_file, "--out", tmp_path / "out") == 0
    folder = tmp_path / "out" / f"{he_file.name}.attention"
    left_out = {"agreement.ome.zarr", ALIGNMENT_FILE}
    assert {path.name for path in folder.iterdir()} == ATTENTION.entries - left_out
    assert {row["teacher_grade"] for row in table(folder)} == {""}


REGIONS_PX = {"tumour ä": (0, 0, 256, 600), "other": (300, 700, 500, 720)}  # 3 tiles and 1


@pytest.fixture
def regions_file(tmp_path: Path) -> Path:
    """As QuPath exports annotations."""
    marked = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": shapely.geometry.mapping(shapely.box(left, top, right, bottom)),
        }
        for name, (top, left, bottom, right) in REGIONS_PX.items()
    ]
    text = json.dumps({"type": "FeatureCollection", "features": marked})
    (tmp_path / "marked.geojson").write_text(text, encoding="utf-8")
    return tmp_path / "marked.geojson"


@undrawn
@undoubted
@pytest.mark.parametrize("only", [False, True], ids=["whole slide", "only regions"])
def test_marked_regions_are_named_and_summed_up(
    only: bool,
    he_file: Path,
    ihc_file: Path,
    alignment_file: Path,
    student_file: Path,
    teacher_file: Path,
    regions_file: Path,
    tmp_path: Path,
) -> None:
    models = ["--student", student_file, "--teacher", teacher_file]
    stains = [he_file, "--ihc", ihc_file, "--alignment", alignment_file]
    marked = ["--regions", regions_file] + ["--only-regions"] * only
    assert run(*stains, *models, *marked, "--out", tmp_path / "out") == 0
    folder = tmp_path / "out" / f"{he_file.name}.attention"
    inside = {(int(row["row"]), int(row["column"])): row["regions"] for row in table(folder)}
    tumour, other = REGIONS_PX
    outside = {} if only else {(1, 0): "", (1, 1): ""}
    assert inside == dict.fromkeys([(0, 0), (0, 1), (0, 2)], tumour) | {(1, 2): other} | outside
    said = json.loads((folder / "attention.json").read_text(encoding="utf-8"))
    assert said["tiles"]["only_in_regions"] is only
    for entry, tiles in zip(said["regions"], (3, 1), strict=True):
        rows = [row for row in table(folder) if row["regions"] == entry["name"]]
        assert entry["inspected_tiles"] == len(rows) == tiles
        for name in ("disagreement", "agreement_1", "attention_loss"):
            mean = np.mean([float(row[name]) for row in rows])
            assert entry[name] == pytest.approx(mean, rel=1e-6)


@undrawn
def test_a_region_has_no_agreement_without_a_teacher(
    he_file: Path, student_file: Path, regions_file: Path, tmp_path: Path
) -> None:
    marked = ["--regions", regions_file, "--only-regions"]
    assert run(he_file, "--student", student_file, *marked, "--out", tmp_path / "out") == 0
    (summary,) = (tmp_path / "out").glob("*/attention.json")
    said = json.loads(summary.read_text(encoding="utf-8"))["regions"]
    assert [(one["inspected_tiles"], one["agreement_0"]) for one in said] == [(3, None), (1, None)]


def test_only_regions_without_any_is_refused(
    he_file: Path, student_file: Path, tmp_path: Path, capsys
) -> None:
    options = ["--student", student_file, "--only-regions", "--out", tmp_path / "out"]
    assert run(he_file, *options) == 2
    assert "none is marked" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@undrawn
def test_tiles_that_fail_are_told(
    tmp_path: Path, paint_slide: Callable[..., Path], student_file: Path
) -> None:
    damaged = paint_slide(tmp_path / "damaged.tif", GRADES, damaged=[(0, 1)])
    assert run(damaged, "--student", student_file, "--out", tmp_path / "out") == 3
    failed = (tmp_path / "out" / "damaged.tif.attention" / "failed.csv").read_text(encoding="utf-8")
    assert failed.splitlines()[1].startswith("0,1,")


@pytest.fixture
def lay_ihc(
    he_file: Path, ihc_file: Path, student_file: Path, teacher_file: Path, tmp_path: Path
) -> Callable[[int], list[object]]:
    """Arguments for the IHC so many px lower than the H&E, which is 512 high, and the IHC 1024."""

    def arguments(down_px: int) -> list[object]:
        with open_slide(he_file) as he, open_slide(ihc_file) as ihc:
            shift = np.array([[1, 0, down_px * 4.0], [0, 1, 200 * 4.0]])
            save_alignment(tmp_path / "laid.json", align_by_matrix(he, ihc, shift))
        models = ["--student", student_file, "--teacher", teacher_file]
        return [he_file, "--ihc", ihc_file, "--alignment", tmp_path / "laid.json", *models]

    return arguments


@undrawn
@undoubted
def test_tiles_beyond_the_ihc_are_told_and_no_findings(lay_ihc, tmp_path: Path) -> None:
    assert run(*lay_ihc(600), "--out", tmp_path / "out") == 3
    (folder,) = (tmp_path / "out").iterdir()
    assert {row["row"] for row in table(folder)} == {"0"}
    with (folder / "failed.csv").open(encoding="utf-8", newline="") as file:
        failed = list(csv.DictReader(file))
    assert [(one["row"], one["column"]) for one in failed] == [("1", "0"), ("1", "1"), ("1", "2")]
    assert all("34% of it lies beyond the IHC 'ihc.tif'" in one["reason"] for one in failed)


@undoubted
def test_where_all_tiles_lie_beyond_the_ihc_nothing_is_written(
    lay_ihc, tmp_path: Path, capsys
) -> None:
    assert run(*lay_ihc(1024), "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "6 tiles" in said
    assert "100% of it lies beyond the IHC 'ihc.tif'" in said
    assert not list((tmp_path / "out").iterdir())


@undrawn
def test_a_stated_pixel_size_that_is_not_the_files_is_noted(
    he_file: Path, student_file: Path, tmp_path: Path, capsys
) -> None:
    assert run(he_file, "--student", student_file, "--mpp", 4.5, "--out", tmp_path / "out") == 0
    note = "4.5 um/px was stated and used, though the file says 4 um/px"
    assert note in capsys.readouterr().err
    folder = tmp_path / "out" / f"{he_file.name}.attention"
    assert note in (folder / "attention.json").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, capsys
) -> None:
    (tmp_path / "out").touch()
    assert run(tmp_path / "missing.tif", "--out", tmp_path / "out") == 2
    assert "is a file; choose a folder" in capsys.readouterr().err


def test_a_check_without_captum_is_refused_before_anything_is_read(
    he_file: Path, student_file: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    assert run(he_file, "--student", student_file, "--check", 2, "--out", tmp_path / "out") == 2
    assert "napari-hmkd[inspect]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


WRONG = (
    "alignment of others", "alignment of other pixel sizes", "no same tissue", "alignment alone",
    "teacher of other tiles",
)  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_belong_together_writes_nothing(
    wrong: str,
    he_file: Path,
    ihc_file: Path,
    alignment_file: Path,
    student_file: Path,
    teacher_file: Path,
    paint_slide: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if wrong == "teacher of other tiles":
        card = teacher_file.with_suffix(".json")
        other = tmp_path / "other.safetensors"
        shutil.copy(teacher_file, other)
        said = json.loads(card.read_text(encoding="utf-8")) | {"mpp": 2.0}
        other.with_suffix(".json").write_text(json.dumps(said), encoding="utf-8")
        teacher_file = other
    arguments = ["--student", student_file, "--teacher", teacher_file, "--out", tmp_path / "out"]
    if wrong == "alignment of others":
        paint_slide(he_file, GRADES[::-1])
    if wrong == "alignment of other pixel sizes":
        arguments += ["--ihc-mpp", 3.5]
    if wrong != "alignment alone":
        arguments += ["--ihc", ihc_file]
    if wrong != "no same tissue":
        arguments += ["--alignment", alignment_file]
    assert run(he_file, *arguments) == 2
    assert capsys.readouterr().err
    assert not (tmp_path / "out").exists()
