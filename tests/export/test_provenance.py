"""Every file of a result says by itself where it comes from, and none tells the slide's folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zarr
from PIL import Image

from napari_hmkd.export import write_results
from napari_hmkd.export.cohort import cohort_row, write_cohort
from napari_hmkd.export.provenance import provenance_json
from napari_hmkd.grading import OpenModel, SlideGrading, start_grading
from napari_hmkd.slide import open_slide

Json = dict[str, Any]
PATIENT = "Meier, Anna 1950"
PROMISED = """
use meaning notice slide.fingerprint slide.mpp slide.mpp_source slide.colour slide.backend
slide.backend_reason versions.napari-hmkd versions.torch versions.openslide-bin versions.tifffile
model.sha256 model.card.name model.card.architecture model.card.training_data model.card.mpp
tiles.tile_px tiles.step_level0_px tiles.rows tiles.columns precision device model.temperature
model.card.temperature model.card.conformal_level model.card.conformal_thresholds stain.kind tissue.mpp
complete forced
""".split()


def of_png(path: Path) -> Json:
    with Image.open(path) as picture:
        return json.loads(picture.text["napari_hmkd"])


def of_geojson(path: Path) -> Json:
    member = json.loads(path.read_text(encoding="utf-8"))["napari_hmkd"]
    del member["origin"]  # of its coordinates
    return member


def of_zarr(path: Path) -> Json:
    return zarr.open_group(path, mode="r").attrs["napari_hmkd"]


READ: dict[str, Callable[[Path], Json]] = {
    "tiles.geojson": of_geojson,
    "tiles.parquet": lambda path: json.loads(pq.read_schema(path).metadata[b"napari_hmkd"]),
    "heatmap.png": of_png,
    "tissue.png": of_png,
    "heatmap.ome.zarr": of_zarr,
    "heatmap.ome.zarr/labels/grade": of_zarr,
}


@pytest.fixture
def grading(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> Iterator[SlideGrading]:
    """Of a slide in a patient's folder, whose back end was chosen after a message with its path."""
    path = paint_slide(tmp_path / PATIENT / "Gewebe ü.tif", [[0, 1, -1], [3, 2, 3]])
    card = replace(
        colour_model.card,
        training_data="painted squares",
        conformal_thresholds=(0.3, 0.4, 0.5, 0.6),
    )
    with open_slide(path) as slide:
        slide.backend_reason = f"a TIFF that another cannot read ('{path}' is odd)"
        grading = start_grading(slide, replace(colour_model, card=card))
        list(grading.run())
        yield grading


@pytest.fixture
def results(tmp_path: Path, grading: SlideGrading) -> Path:
    write_results(grading, tmp_path / "out")
    return tmp_path / "out"


def at(found: Json, name: str) -> object:
    value: Any = found
    for part in name.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize("file", READ)
def test_each_file_carries_what_the_summary_says(results: Path, file: str) -> None:
    found = READ[file](results / file)
    summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    del summary["slide"]["path"]
    assert found == {name: summary[name] for name in found}
    missing = [name for name in PROMISED if at(found, name) in (None, "", [])]
    assert missing == []


def test_the_table_of_many_slides_carries_it_in_each_row(
    grading: SlideGrading, results: Path, tmp_path: Path
) -> None:
    summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    graded = cohort_row("Gewebe ü.tif", "graded", "", summary)
    write_cohort([graded, cohort_row("broken.tif", "failed", "no slide", {})], tmp_path / "cohort")
    with (tmp_path / "cohort" / "cohort.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert json.loads(first["provenance"]) == json.loads(provenance_json(grading))
    assert PATIENT not in first["provenance"]
    assert second["provenance"] == ""


def test_the_page_shows_it(results: Path) -> None:
    page = (results / "report.html").read_text(encoding="utf-8")
    assert [name for name in PROMISED if f"<td>{name}</td>" not in page] == []


def test_no_file_that_is_passed_on_tells_the_folder_of_the_slide(results: Path) -> None:
    telling = {
        path.relative_to(results).as_posix()
        for path in results.rglob("*")
        if path.is_file() and PATIENT.encode() in path.read_bytes()
    }
    assert telling == {"summary.json"}
    summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    assert PATIENT not in summary["slide"]["backend_reason"]
