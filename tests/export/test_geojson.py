"""What QuPath is told about a grading."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import numpy as np
import pytest
import shapely
from shapely.geometry import shape
from tests.export.qupath_schema import COLLECTION

from napari_hmkd.export.geojson import feature_collection, write_geojson
from napari_hmkd.grading import OpenModel, SlideGrading, start_grading
from napari_hmkd.planning import GradeSettings
from napari_hmkd.slide import open_slide

GRADES = [[0, 0, 1, -1], [0, 2, 1, 3], [3, 2, 2, 0]]
DAMAGED = (1, 3)
COLOURS = {
    "HER2 0": [44, 123, 182],
    "HER2 1+": [171, 217, 233],
    "HER2 2+": [253, 174, 97],
    "HER2 3+": [215, 25, 28],
    "not readable": [128, 128, 128],
}
FITTING, OVERHANGING = 4.0, 3.1  # um/px; with the latter the last tiles reach beyond the slide

Json = dict[str, Any]


@pytest.fixture(params=[FITTING, OVERHANGING], ids=["tiles fit", "tiles reach over the edge"])
def grading(
    request: pytest.FixtureRequest, grade_painted: Callable[..., SlideGrading]
) -> SlideGrading:
    return grade_painted(GRADES, [DAMAGED], mpp=request.param)


@pytest.fixture
def written(tmp_path: Path, grading: SlideGrading) -> Json:
    write_geojson(grading, tmp_path / "grades.geojson")
    return json.loads((tmp_path / "grades.geojson").read_text(encoding="utf-8"))


def of_class(features: list[Json], name: str) -> list[Json]:
    return [f for f in features if f["properties"]["classification"]["name"] == name]


def total(features: list[Json], measurement: str) -> float:
    return sum(f["properties"]["measurements"][measurement] for f in features)


def polygons(collection: Json) -> list[shapely.Polygon]:
    return [shape(feature["geometry"]) for feature in collection["features"]]


def test_it_has_the_members_that_qupath_reads(written: Json) -> None:
    jsonschema.validate(written, COLLECTION)
    assert {f["properties"]["objectType"] for f in written["features"]} == {"annotation"}
    ids = [UUID(feature["id"]) for feature in written["features"]]
    assert {each.version for each in ids} == {4}
    assert len(set(ids)) == len(ids)


def test_its_polygons_follow_rfc_7946(written: Json, grading: SlideGrading) -> None:
    size = grading.plan.slide.size
    for polygon, feature in zip(polygons(written), written["features"], strict=True):
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
        assert polygon.is_valid
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)
        assert shapely.box(0, 0, size.width, size.height).covers(polygon)


def test_each_feature_is_one_patch_of_tiles_of_its_grade(
    written: Json, grading: SlideGrading
) -> None:
    heatmap, grid = grading.heatmap, grading.plan.grid
    expected = {tuple(tile): f"HER2 {'0 1+ 2+ 3+'.split()[k]}" for tile, k in graded(grading)}
    expected |= dict.fromkeys(heatmap.failed, "not readable")
    assert {"HER2 0", "not readable"} < set(expected.values())
    found = {}
    for polygon, feature in zip(polygons(written), written["features"], strict=True):
        tiles = [t for t in grid.tiles().tolist() if polygon.contains(on_slide(grading, t))]
        assert feature["properties"]["measurements"]["Tiles"] == len(tiles)
        found |= {tuple(t): feature["properties"]["classification"]["name"] for t in tiles}
    assert found == expected


def graded(grading: SlideGrading) -> list[tuple[list[int], int]]:
    grade = grading.heatmap.grade
    return [(tile.tolist(), int(grade[tuple(tile)])) for tile in np.argwhere(grade >= 0)]


def on_slide(grading: SlideGrading, tile: list[int]) -> shapely.Point:
    """The middle of what lies of a tile on the slide."""
    (y, x), size = grading.plan.grid.origins(tile)[0], grading.plan.slide.size
    bottom, right = np.array((y, x)) + grading.plan.grid.step_px
    return shapely.box(x, y, min(right, size.width), min(bottom, size.height)).centroid


def test_patches_that_touch_at_a_corner_only_are_two(
    grade_painted: Callable[..., SlideGrading],
) -> None:
    features = feature_collection(grade_painted([[0, 1], [1, 0]]))["features"]
    assert [f["properties"]["name"] for f in features] == [
        "HER2 0, patch 1",
        "HER2 1+, patch 2",
        "HER2 1+, patch 3",
        "HER2 0, patch 4",
    ]


def test_classes_have_the_colours_of_the_palette(written: Json) -> None:
    for feature in written["features"]:
        classification = feature["properties"]["classification"]
        assert classification["color"] == COLOURS[classification["name"]]


def test_areas_add_up_to_the_tiles_on_the_slide(written: Json, grading: SlideGrading) -> None:
    grid, size = grading.plan.grid, grading.plan.slide.size
    y, x = grid.origins(grid.tiles()).T
    height = np.minimum(y + grid.step_px[0], size.height) - y
    width = np.minimum(x + grid.step_px[1], size.width) - x
    mm2 = (height * width * grid.slide_mpp[0] * grid.slide_mpp[1] / 1e6).reshape(grid.rows, -1)
    for k, name in enumerate(list(COLOURS)[:4]):
        area = total(of_class(written["features"], name), "Area mm^2")
        assert area == pytest.approx(mm2[grading.heatmap.grade == k].sum(), rel=1e-9)
    failed = sum(mm2[tile] for tile in grading.heatmap.failed)
    unreadable = of_class(written["features"], "not readable")
    assert total(unreadable, "Area mm^2") == pytest.approx(failed, rel=1e-9)


def test_tissue_and_shares_agree_with_the_summary(written: Json, grading: SlideGrading) -> None:
    summary = grading.heatmap.summary()
    for k, name in enumerate(list(COLOURS)[:4]):
        features = of_class(written["features"], name)
        assert total(features, "Tissue mm^2") == pytest.approx(summary.area_mm2[k], rel=1e-5)
        share = total(features, "Share of graded tissue")
        assert share == pytest.approx(summary.share[k], rel=1e-5)


def test_without_a_tissue_mask_tissue_is_what_lies_on_the_slide(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> None:
    with open_slide(paint_slide(tmp_path / "glass.tif", [[-1]]), mpp=OVERHANGING) as slide:
        grading = start_grading(slide, colour_model, GradeSettings(force=True))
        list(grading.run())
        features = feature_collection(grading)["features"]
    area = (256 * OVERHANGING / 1000) ** 2
    assert total(features, "Area mm^2") == pytest.approx(area)
    assert total(features, "Tissue mm^2") == pytest.approx(area)


def test_probabilities_are_means_over_the_tiles(written: Json, grading: SlideGrading) -> None:
    heatmap = grading.heatmap
    heatmap.probabilities[heatmap.graded] += np.random.default_rng(0).uniform(0, 1e-3, 4)
    sizes = []
    for feature in feature_collection(grading)["features"]:
        measured, polygon = feature["properties"]["measurements"], shape(feature["geometry"])
        tiles = [t for t, _ in graded(grading) if polygon.contains(on_slide(grading, t))]
        if tiles:
            mean = np.mean([heatmap.probabilities[tuple(t)] for t in tiles], axis=0)
            found = [measured[f"Probability {name} (mean)"] for name in "0 1+ 2+ 3+".split()]
            assert found == pytest.approx(mean, abs=1e-6)
            assert measured["Expected grade (mean)"] == pytest.approx(mean @ range(4), abs=1e-5)
            sizes.append(len(tiles))
    assert max(sizes) > 1


def test_what_is_not_readable_has_no_grade(written: Json) -> None:
    unreadable = of_class(written["features"], "not readable")
    assert unreadable
    for feature in unreadable:
        assert set(feature["properties"]["measurements"]) == {"Area mm^2", "Tissue mm^2", "Tiles"}


def test_without_thresholds_nothing_is_said_about_undecided_tiles(written: Json) -> None:
    for feature in written["features"]:
        assert "Undecided tiles" not in feature["properties"]["measurements"]


def test_tiles_whose_prediction_set_is_not_one_grade_are_undecided(
    paint_slide: Callable[..., Path], colour_model: OpenModel, tmp_path: Path
) -> None:
    card = replace(colour_model.card, conformal_thresholds=(0.3, 0.4, 0.5, 0.6))
    with open_slide(paint_slide(tmp_path / "slide.tif", [[0] * 5])) as slide:
        grading = start_grading(slide, replace(colour_model, card=card))
        grading.heatmap.probabilities[0] = [
            (0.90, 0.05, 0.03, 0.02),  # {0}
            (0.50, 0.45, 0.03, 0.02),  # {0, 1+}
            (0.28, 0.25, 0.24, 0.23),  # {}
            (0.58, 0.39, 0.02, 0.01),  # {0}
            (0.05, 0.45, 0.50, 0.00),  # {1+, 2+}, and the only 2+
        ]
        features = feature_collection(grading)["features"]
    undecided = [f["properties"]["measurements"]["Undecided tiles"] for f in features]
    assert undecided == [2, 1]


def test_reading_gives_what_was_written(tmp_path: Path, grading: SlideGrading) -> None:
    collection = feature_collection(grading)
    write_geojson(grading, tmp_path / "grades.geojson")
    read = json.loads((tmp_path / "grades.geojson").read_text(encoding="utf-8"))
    assert len(read["features"]) > 5
    assert shapely.equals_exact(polygons(read), polygons(collection), tolerance=0).all()


def test_the_two_origins_differ_by_where_the_slide_begins_in_its_file(
    grading: SlideGrading, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = polygons(feature_collection(grading, "slide"))
    monkeypatch.setattr(grading.plan.slide, "origin_px", (4_000, 70_000))  # (y, x)
    assert shapely.equals_exact(polygons(feature_collection(grading)), slide).all()
    moved = feature_collection(grading, "file")
    assert moved["napari_hmkd"]["origin"] == "file"
    for there, here in zip(polygons(moved), slide, strict=True):
        offset = shapely.get_coordinates(there) - shapely.get_coordinates(here)
        np.testing.assert_allclose(offset, np.broadcast_to((70_000, 4_000), offset.shape))


def test_what_the_grades_mean_travels_with_the_file_and_with_each_annotation(
    written: Json, grading: SlideGrading
) -> None:
    said = {
        "notice": grading.plan.card.notice,
        "use": "research use only",
        "meaning": "by area of tiles, not by cells: not an ASCO/CAP score",
    }
    assert said.items() <= written["napari_hmkd"].items()
    assert written["napari_hmkd"]["origin"] == "slide"
    for feature in written["features"]:
        description = feature["properties"]["metadata"]["ANNOTATION_DESCRIPTION"]
        assert all(sentence in description for sentence in said.values())


def test_any_letter_survives_whatever_encoding_the_reader_expects(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> None:
    card = replace(colour_model.card, notice="nur für Forschung 研究")
    with open_slide(paint_slide(tmp_path / "slide.tif", [[0, 1]])) as slide:
        write_geojson(start_grading(slide, replace(colour_model, card=card)), tmp_path / "g.json")
    text = (tmp_path / "g.json").read_bytes().decode("ascii")
    assert json.loads(text)["napari_hmkd"]["notice"] == "nur für Forschung 研究"


def test_tiles_that_were_not_tried_belong_to_no_polygon(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", [[0, 1], [2, 3]])) as slide:
        grading = start_grading(slide, colour_model)
        assert feature_collection(grading)["features"] == []
        grading.heatmap.probabilities[1, 0] = (0, 0, 1, 0)
        (polygon,) = polygons(feature_collection(grading))
    assert polygon.bounds == (0, 256, 256, 512)
