"""The patches of predicted biomarkers as QuPath and data frames take them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from shapely.geometry import shape
from tests.export.qupath_schema import COLLECTION
from tests.page_layout import require_wide_tables_to_scroll

from napari_hmkd.biomarkers.encoders import find_encoder
from napari_hmkd.biomarkers.prediction import open_biomarkers
from napari_hmkd.biomarkers.slide import SlideBiomarkers, start_biomarkers
from napari_hmkd.export.biomarkers import summarise_biomarkers, write_biomarkers
from napari_hmkd.export.biomarkers_geojson import patch_collection
from napari_hmkd.planning import GradeSettings
from napari_hmkd.slide import open_slide
from napari_hmkd.wording import NO_GRADE

GRADES = [[0, 1, 2, -1], [3, -1, 1, 2], [-1, 0, 0, 3]]
DAMAGED = (2, 3)
Json = dict[str, Any]


@pytest.fixture(scope="module", params=[4.0, 3.1], ids=["tiles fit", "tiles reach over the edge"])
def run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    paint_slide: Callable[..., Path],
    biomarkers_file: Path,
    student_file: Path,
) -> Iterator[SlideBiomarkers]:
    path = tmp_path_factory.mktemp("slide") / "Gewebe ü.tif"
    paint_slide(path, GRADES, damaged=[DAMAGED])
    with open_slide(path, mpp=request.param) as slide:
        run = start_biomarkers(
            slide,
            open_biomarkers(biomarkers_file),
            find_encoder(str(student_file)),
            GradeSettings(device="cpu"),
        )
        list(run.run())
        yield run


@pytest.fixture(scope="module")
def folder(run: SlideBiomarkers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "out"
    write_biomarkers(run, folder)
    return folder


def test_the_page_s_tables_scroll_on_a_phone_and_have_names(folder: Path) -> None:
    page = (folder / "biomarkers.html").read_text(encoding="utf-8")
    assert require_wide_tables_to_scroll(page) == [
        "Probability of each status of HER2",
        "Probability of each status of growth",
        "Settings and provenance",
    ]


@pytest.fixture
def written(folder: Path) -> Json:
    return json.loads((folder / "patches.geojson").read_text(encoding="ascii"))


def of_type(collection: Json, kind: str) -> list[Json]:
    return [f for f in collection["features"] if f["properties"]["objectType"] == kind]


def annotations(collection: Json, name: str) -> list[Json]:
    features = of_type(collection, "annotation")
    return [f for f in features if f["properties"]["classification"]["name"] == name]


def polygons(features: list[Json]) -> list[shapely.Polygon]:
    return [shape(feature["geometry"]) for feature in features]


def test_qupath_can_read_the_patches(written: Json, run: SlideBiomarkers) -> None:
    jsonschema.validate(written, COLLECTION)
    size = run.extraction.plan.slide.size
    on_slide = shapely.box(0, 0, size.width, size.height)
    for polygon in polygons(written["features"]):
        assert polygon.is_valid
        assert polygon.exterior.is_ccw
        assert on_slide.covers(polygon)
    assert len({feature["id"] for feature in written["features"]}) == len(written["features"])


def test_each_patch_is_a_detection_at_its_place_with_its_attention(
    written: Json, run: SlideBiomarkers
) -> None:
    tiles, detections = run.extraction.encoded_tiles(), of_type(written, "detection")
    assert len(detections) == len(tiles)
    origins = run.extraction.plan.grid.origins(tiles)
    for number, polygon in enumerate(polygons(detections)):
        np.testing.assert_allclose(polygon.bounds[:2], origins[number, ::-1])
        assert polygon.area > 0
    for one in run.predictions:
        name = f"Attention {one.target.name} (1 = even share)"
        found = [feature["properties"]["measurements"][name] for feature in detections]
        assert found == one.relative_attention.tolist()
        assert np.mean(found) == pytest.approx(1, rel=1e-5)


def test_the_judged_tissue_is_annotated_with_the_answer_and_what_it_means(
    written: Json, run: SlideBiomarkers
) -> None:
    judged = annotations(written, "Biomarkers, judged")
    patches = shapely.union_all(polygons(of_type(written, "detection")))
    beside = shapely.symmetric_difference(shapely.union_all(polygons(judged)), patches)
    assert beside.area == pytest.approx(0, abs=1e-3)
    for feature in judged:
        assert {
            f"Probability {answer.target.name} {name} (slide)": p
            for answer in run.predictions
            for name, p in zip(answer.target.classes, answer.probabilities.tolist(), strict=True)
        } == feature["properties"]["measurements"]
        said = feature["properties"]["metadata"]["ANNOTATION_DESCRIPTION"]
        definitions = [answer.target.definition for answer in run.predictions]
        assert all(each in said for each in (*definitions, run.answered_by, NO_GRADE, run.notice))


def test_tiles_that_could_not_be_read_are_no_patches(written: Json, run: SlideBiomarkers) -> None:
    found = shapely.union_all(polygons(annotations(written, "not readable")))
    tiles = np.array(sorted(run.extraction.failed))
    assert len(tiles) > 0
    inside = run.extraction.plan.grid.origins(tiles) + 1.0
    assert shapely.contains_xy(found, *inside.T[::-1]).all()
    patches = shapely.union_all(polygons(of_type(written, "detection")))
    assert shapely.intersection(found, patches).area == pytest.approx(0, abs=1e-3)


def test_the_two_origins_differ_by_where_the_slide_begins_in_its_file(
    run: SlideBiomarkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = polygons(patch_collection(run, {})["features"])
    monkeypatch.setattr(run.extraction.plan.slide, "origin_px", (4_000, 70_000))  # (y, x)
    assert shapely.equals_exact(polygons(patch_collection(run, {})["features"]), here).all()
    moved = polygons(patch_collection(run, {}, "file")["features"])
    for one, other in zip(moved, here, strict=True):
        offset = shapely.get_coordinates(one) - shapely.get_coordinates(other)
        np.testing.assert_allclose(offset, np.broadcast_to((70_000, 4_000), offset.shape))


def test_parquet_has_the_rows_of_the_csv_with_types_and_all_digits(
    folder: Path, run: SlideBiomarkers
) -> None:
    table = pq.read_table(folder / "patches.parquet")
    names = [f"attention_{one.target.name}" for one in run.predictions]
    assert table.column_names == [
        *("row", "column", "y_px", "x_px"),
        *names,
        *("answered_by", "notice"),
    ]
    kinds = [pa.int64()] * 2 + [pa.float64()] * 2 + [pa.float32()] * len(names) + [pa.string()] * 2
    assert table.schema.types == kinds
    for name, one in zip(names, run.predictions, strict=True):
        np.testing.assert_array_equal(table[name].to_numpy(), one.attention)
    with (folder / "patches.csv").open(encoding="utf-8", newline="") as file:
        printed = list(csv.DictReader(file))
    assert len(printed) == len(table) == len(run.extraction.encoded_tiles())
    for row, typed in zip(printed, table.to_pylist(), strict=True):
        for name in ("answered_by", "notice"):
            assert row[name] == typed.pop(name)
        assert {name: float(row[name]) for name in typed} == pytest.approx(typed, rel=1e-5)
        for name in ("y_px", "x_px"):  # as in tiles.csv: three digits would be taken for thousands
            assert row[name] == f"{typed[name]:.4f}"


def test_both_carry_what_the_summary_says(folder: Path, written: Json) -> None:
    about = json.loads((folder / "biomarkers.json").read_text(encoding="utf-8"))
    assert written["napari_hmkd"] == about | {"origin": "slide"}
    assert about["geojson_origin"] == "slide"
    metadata = pq.read_schema(folder / "patches.parquet").metadata
    assert json.loads(metadata[b"napari_hmkd"]) == about


def test_the_summary_says_what_the_geojson_counts_from(run: SlideBiomarkers) -> None:
    assert summarise_biomarkers(run, "file")["geojson_origin"] == "file"
