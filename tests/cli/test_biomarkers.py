"""`napari-hmkd-grade biomarkers` as a user meets it."""

from __future__ import annotations

import csv
import html
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image import Image as OmeImage
from PIL import Image

from napari_hmkd.biomarkers.feature_store import default_folder
from napari_hmkd.cli.grade import main
from napari_hmkd.export.biomarkers import BIOMARKERS
from napari_hmkd.slide import open_slide
from napari_hmkd.wording import NO_GRADE

undrawn = pytest.mark.usefixtures("undrawn_figures")
GRADES = [[0, 1, 2], [3, -1, 1]]
PaintSlide = Callable[..., Path]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["biomarkers", *map(str, arguments), "--device", "cpu"])
    return int(ended.value.code or 0)


@pytest.fixture
def he_file(tmp_path: Path, paint_slide: PaintSlide) -> Path:
    return paint_slide(tmp_path / "gewebe ä.tif", GRADES)


@pytest.fixture
def models(biomarkers_file: Path, student_file: Path) -> tuple[object, ...]:
    return "--model", biomarkers_file, "--encoder", student_file


def summary(folder: Path) -> dict:
    return json.loads((folder / "biomarkers.json").read_text(encoding="utf-8"))


def table(folder: Path, name: str = "patches.csv") -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_everything_is_written_and_agrees(
    he_file: Path, models: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(he_file, *models, "--out", tmp_path / "out") == 0
    folder = tmp_path / "out" / f"{he_file.name}.biomarkers"
    assert {path.name for path in folder.iterdir()} == BIOMARKERS.entries
    about, rows = summary(folder), table(folder)
    assert [one["name"] for one in about["targets"]] == ["HER2", "growth"]
    for target in about["targets"]:
        assert sum(target["probabilities"].values()) == pytest.approx(1)
        weights = np.array([float(row[f"attention_{target['name']}"]) for row in rows])
        assert weights.sum() == pytest.approx(1, rel=1e-4)
        first, best = target["top_patches"][0], rows[weights.argmax()]
        assert (first["row"], first["column"]) == (int(best["row"]), int(best["column"]))
        assert first["attention"] == pytest.approx(weights.max(), rel=1e-4)
    assert about["patches"] == len(rows) == 5
    assert about["encoder"]["sha256"] == about["model"]["card"]["encoder_sha256"]
    assert str(he_file.parent) not in (folder / "biomarkers.json").read_text(encoding="utf-8")
    told = capsys.readouterr()
    assert "not the HER2 grade" in told.out
    assert "random biomarkers; random weights; research use only" in told.err


@undrawn
def test_the_heatmap_lies_over_the_slide_at_true_scale(
    he_file: Path, models: tuple[object, ...], tmp_path: Path
) -> None:
    assert run(he_file, *models, "--out", tmp_path / "out") == 0
    folder = tmp_path / "out" / f"{he_file.name}.biomarkers"
    group = zarr.open_group(folder / "attention.ome.zarr", mode="r")
    image = OmeImage.from_zarr(group)
    with open_slide(he_file) as slide:
        mpp = np.array(slide.require_mpp())
    (level,) = image.ome_attributes.multiscales[0].datasets
    scale, translation = level.coordinateTransformations
    np.testing.assert_allclose(scale.scale, [1, *(256 * mpp)], rtol=1e-6)
    np.testing.assert_allclose(translation.translation, [0, *(127.5 * mpp)], rtol=1e-6)
    pixels = group["0"][...]
    assert pixels.shape == (2, 2, 3)
    assert np.argwhere(np.isnan(pixels[0])).tolist() == [[1, 1]]
    for row in table(folder):
        found = pixels[0, int(row["row"]), int(row["column"])]
        assert found == pytest.approx(5 * float(row["attention_HER2"]), rel=1e-4)
    assert group.attrs["napari_hmkd"]["model"]["name"] == "random biomarkers"


def test_the_page_says_what_each_status_is_and_that_it_is_no_grade(
    he_file: Path, models: tuple[object, ...], tmp_path: Path
) -> None:
    assert run(he_file, *models, "--out", tmp_path / "out") == 0
    folder = tmp_path / "out" / f"{he_file.name}.biomarkers"
    page = html.unescape((folder / "biomarkers.html").read_text(encoding="utf-8"))
    for definition in ("Positive is 3+, or 2+ with positive ISH", "Growth in three steps"):
        after = page.partition(definition)[2]
        assert NO_GRADE[1:] in after[:400]
    assert "andom biomarkers; random weights; research use only" in page
    with Image.open(folder / "gallery.png") as gallery:
        assert json.loads(gallery.text["napari_hmkd"])["notice"] in page
        assert len(np.unique(np.asarray(gallery.convert("L")))) > 50


@undrawn
def test_the_features_are_kept_and_reused(
    he_file: Path, models: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (he_file, *models, "--out", tmp_path / "out")
    assert run(*command) == 0
    folder = tmp_path / "out" / f"{he_file.name}.biomarkers"
    before = summary(folder)["targets"]
    assert len(list(default_folder().glob("*.sqlite"))) == 1
    capsys.readouterr()
    assert run(*command) == 0
    assert "5 tiles were encoded before" in capsys.readouterr().err
    assert summary(folder)["targets"] == before
    assert run(*command, "--fresh") == 0
    assert summary(folder)["patches_of_an_earlier_run"] == 0


@undrawn
def test_one_slides_failure_is_told_and_the_others_go_on(
    he_file: Path,
    models: tuple[object, ...],
    tmp_path: Path,
    paint_slide: PaintSlide,
    capsys: pytest.CaptureFixture[str],
) -> None:
    glass = paint_slide(tmp_path / "glass.tif", [[-1, -1], [-1, -1]])
    damaged = paint_slide(tmp_path / "damaged.tif", GRADES, damaged=[(0, 1)])
    assert run(damaged, *models, "--out", tmp_path / "out") == 3
    assert "1 tile could not be read" in capsys.readouterr().err
    folder = tmp_path / "out" / "damaged.tif.biomarkers"
    assert [tile["column"] for tile in summary(folder)["unreadable_tiles"]] == [1]
    assert "1 tile could not be read or encoded" in summary(folder)["warnings"]
    page = (folder / "biomarkers.html").read_text(encoding="utf-8")
    told, _provenance = page.split("<h2>Settings and provenance</h2>")
    assert told.count("could not be read") == 1
    assert not (tmp_path / "out" / "biomarkers.csv").exists(), "it is of several slides"
    assert run(glass, he_file, *models, "--out", tmp_path / "out") == 2
    assert "glass.tif" in capsys.readouterr().err
    assert not (tmp_path / "out" / "glass.tif.biomarkers").exists()
    assert (tmp_path / "out" / f"{he_file.name}.biomarkers").is_dir()


@undrawn
def test_several_slides_get_a_table_with_a_row_for_each_target(
    he_file: Path, models: tuple[object, ...], tmp_path: Path, paint_slide: PaintSlide
) -> None:
    glass = paint_slide(tmp_path / "glass.tif", [[-1, -1], [-1, -1]])
    assert run(glass, he_file, *models, "--out", tmp_path / "out") == 2
    rows = table(tmp_path / "out", "biomarkers.csv")
    names = [(Path(row["slide"]).name, row["target"]) for row in rows]
    assert names == [
        (name, target) for name in ("glass.tif", he_file.name) for target in ("HER2", "growth")
    ]
    for row in rows[:2]:
        assert row["outcome"] == "failed"
        assert "glass.tif" in row["message"]
        assert not any(row[f"p_{name}"] for name in ("negative", "positive", "slow", "fast"))
        assert row["provenance"] == row["most_probable"] == row["patches"] == ""
    about = summary(tmp_path / "out" / f"{he_file.name}.biomarkers")
    for row, target in zip(rows[2:], about["targets"], strict=True):
        assert (row["outcome"], row["message"], row["patches"]) == ("predicted", "", "5")
        found = {name: float(p) for name, p in row.items() if name.startswith("p_") and p}
        assert found == {f"p_{name}": p for name, p in target["probabilities"].items()}
        assert row["most_probable"] == target["most_probable"]
        assert row["definition"] == target["definition"]
        assert (row["notice"], row["meaning"]) == (about["notice"], NO_GRADE)
        source = json.loads(row["provenance"])
        assert {name: about[name] for name in source} == source
        assert {"slide", "model", "encoder", "tiles", "versions"} < set(source)
        assert str(he_file.parent) not in row["provenance"]


@undrawn
def test_a_name_that_is_no_utf8_is_told_and_the_others_go_on(
    he_file: Path, models: tuple[object, ...], tmp_path: Path
) -> None:
    foreign = tmp_path / "f\udcfcr.tif"
    assert run(foreign, he_file, *models, "--out", tmp_path / "out") == 2
    rows = {Path(row["slide"]).name: row for row in table(tmp_path / "out", "biomarkers.csv")}
    assert rows[he_file.name]["outcome"] == "predicted"
    assert "Rename it" in rows[r"f\udcfcr.tif"]["message"]


@undrawn
def test_a_table_that_cannot_be_written_ends_no_run(
    he_file: Path,
    models: tuple[object, ...],
    tmp_path: Path,
    paint_slide: PaintSlide,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = paint_slide(tmp_path / "other.tif", GRADES)
    replace = os.replace

    def locked(source: Path, target: Path) -> None:  # as Windows does with a file that is open
        if target.name == "biomarkers.csv":
            raise PermissionError("in use by another program")
        replace(source, target)

    monkeypatch.setattr(os, "replace", locked)
    assert run(he_file, other, *models, "--out", tmp_path / "out") == 2
    assert "asked to write biomarkers.csv" in capsys.readouterr().err
    for slide in (he_file, other):
        assert summary(tmp_path / "out" / f"{slide.name}.biomarkers")["patches"] == 5


@undrawn
def test_the_geojson_counts_from_where_it_is_asked_to(
    he_file: Path, models: tuple[object, ...], tmp_path: Path
) -> None:
    assert run(he_file, *models, "--out", tmp_path / "out", "--geojson-origin", "file") == 0
    folder = tmp_path / "out" / f"{he_file.name}.biomarkers"
    written = json.loads((folder / "patches.geojson").read_text(encoding="ascii"))
    assert written["napari_hmkd"]["origin"] == summary(folder)["geojson_origin"] == "file"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (("--model", "nothing"), "there is no file"),
        (("--encoder", "demo"), "name that encoder's file"),
        (("--weights", "w.bin"), "leave them out"),
        (("--precision", "float8"), "asked for the precision"),
    ],
)
def test_what_does_not_belong_together_writes_nothing(
    wrong: tuple[str, str],
    reason: str,
    he_file: Path,
    models: tuple[object, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(he_file, *models, "--out", tmp_path / "out", *wrong) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@undrawn
@pytest.mark.parametrize(("mpp", "told"), [(3.1, True), (4.02, False)])
def test_a_stated_pixel_size_that_is_not_the_files_is_noted(
    mpp: float,
    told: bool,
    he_file: Path,
    models: tuple[object, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(he_file, *models, "--mpp", mpp, "--out", tmp_path / "out") == 0
    note = f"{mpp} um/px was stated and used, though the file says 4 um/px"
    assert (note in capsys.readouterr().err) == told
    warnings = summary(tmp_path / "out" / f"{he_file.name}.biomarkers")["warnings"]
    assert any(note in line for line in warnings) == told


@undrawn
def test_m_answers_for_slides_with_genes_and_each_output_says_so(
    multimodal_file: Path,
    student_file: Path,
    gene_file: Path,
    tmp_path: Path,
    paint_slide: PaintSlide,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slides = [paint_slide(tmp_path / name, GRADES) for name in ("P1_a.tif", "Q.tif")]
    models = ("--model", multimodal_file, "--encoder", student_file)
    assert run(*slides, *models, "--genes", gene_file, "--out", tmp_path / "out") == 0
    told = capsys.readouterr()
    by = {
        "P1_a.tif": "network M, from H&E and genes (row P1 of genes.csv)",
        "Q.tif": "network P, from H&E alone",
    }
    why = "genes.csv has no row of genes for Q"
    assert why in told.err
    for slide in slides:
        folder, with_genes = tmp_path / "out" / f"{slide.name}.biomarkers", slide is slides[0]
        about = summary(folder)
        assert by[slide.name] in told.out
        assert about["answered_by"] == by[slide.name]
        assert about["genes"]["row"] == ("P1" if with_genes else "")
        assert about["genes"]["missing"] == ("" if with_genes else why)
        assert any(why in line for line in about["warnings"]) is not with_genes
        for target in about["targets"]:
            assert target["network"] == ("M" if with_genes else "P")
            card = next(
                one for one in about["model"]["card"]["targets"] if one["name"] == target["name"]
            )
            assert (
                target["temperature"]
                == card["temperature_with_genes" if with_genes else "temperature"]
            )
        assert str(gene_file.parent) not in json.dumps(about)
        page = html.unescape((folder / "biomarkers.html").read_text(encoding="utf-8"))
        assert f"random biomarkers ({by[slide.name]})" in page
        assert ("predicted from H&E and genes</h1>" in page) == with_genes
        assert {row["answered_by"] for row in table(folder)} == {by[slide.name]}
        geojson = json.loads((folder / "patches.geojson").read_text(encoding="ascii"))
        assert (
            by[slide.name]
            in geojson["features"][0]["properties"]["metadata"]["ANNOTATION_DESCRIPTION"]
        )
    rows = table(tmp_path / "out", "biomarkers.csv")
    assert [(row["network"], row["genes"]) for row in rows] == [("M", "P1")] * 2 + [("P", "")] * 2


@undrawn
def test_a_case_can_be_named_where_the_slides_name_does_not_tell(
    he_file: Path, multimodal_file: Path, student_file: Path, gene_file: Path, tmp_path: Path
) -> None:
    command = (he_file, "--model", multimodal_file, "--encoder", student_file, "--genes", gene_file)
    assert run(*command, "--case", "P2", "--out", tmp_path / "out") == 0
    about = summary(tmp_path / "out" / f"{he_file.name}.biomarkers")
    assert (about["genes"]["row"], about["targets"][0]["network"]) == ("P2", "M")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (("--genes", "missing.csv"), "missing.csv cannot be read"),
        (("--genes", "{genes}", "--case", "P7"), "genes.csv has no row of genes for P7"),
        (("--case", "P1"), "give it with --genes"),
        (
            ("{slide}", "--genes", "{genes}", "--case", "P1"),
            "asked to judge 2 slides by the genes of the case P1",
        ),
        (
            ("--genes", "{genes}", "--model", "demo", "--encoder", "demo"),
            "whose file holds P alone",
        ),
    ],
)
def test_genes_that_cannot_be_used_write_nothing(
    wrong: tuple[str, ...],
    reason: str,
    he_file: Path,
    multimodal_file: Path,
    student_file: Path,
    gene_file: Path,
    paint_slide: PaintSlide,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = paint_slide(tmp_path / "other.tif", GRADES)
    asked = [one.format(genes=gene_file, slide=other) for one in wrong]
    models = ("--model", multimodal_file, "--encoder", student_file)
    assert run(he_file, *models, "--out", tmp_path / "out", *asked) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_students_file_is_no_biomarker_model(
    he_file: Path, student_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(he_file, "--model", student_file, "--out", tmp_path / "out") == 2
    assert "error: " in capsys.readouterr().err


def test_a_folder_of_others_is_left_alone(
    he_file: Path, models: tuple[object, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "out" / f"{he_file.name}.biomarkers"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine", encoding="utf-8")
    assert run(he_file, *models, "--out", tmp_path / "out") == 2
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_where_nothing_can_be_written_it_is_told(
    he_file: Path,
    models: tuple[object, ...],
    impossible_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(he_file, *models, "--out", impossible_folder) == 2
    assert "Traceback" not in capsys.readouterr().err
