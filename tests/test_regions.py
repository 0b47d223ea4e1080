"""Regions that a user marks: their shapes, their share of tiles, and their files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Size
from napari_hmkd.regions import (
    MarkedRegion,
    invasive_tumour,
    read_regions,
    regions_of_shapes,
    tiles_inside,
)
from napari_hmkd.slide import TissueMask
from napari_hmkd.tiling import TileGrid

GRID = TileGrid(Size(1000, 1500), (0.5, 0.5), 256, 1.0)  # 2 x 3 tiles of 512 level-0 px
MASK = TissueMask(np.ones((250, 375), bool), (2.0, 2.0), (4.0, 4.0))  # all is tissue
BOX = [(100, 200), (100, 900), (700, 900), (700, 200)]


def region_of_shapes(name: str, shapes: list) -> MarkedRegion:
    (region,) = regions_of_shapes([(name, shapes)])
    return region


def shares(region: MarkedRegion, tissue: TissueMask | None) -> np.ndarray:
    return region.tissue_fraction(GRID, tissue)


@pytest.mark.parametrize("tissue", [None, MASK], ids=["no mask", "mask"])
def test_each_tile_has_the_share_that_lies_inside(tissue: TissueMask | None) -> None:
    region = region_of_shapes("tumour", [("polygon", BOX)])
    rows = np.array([512 - 100, 700 - 512]) / 512
    columns = np.array([512 - 200, 900 - 512, 0]) / 512
    np.testing.assert_allclose(shares(region, tissue), np.outer(rows, columns), atol=0.005)


def test_what_a_region_holds_beyond_the_slide_does_not_count() -> None:
    region = region_of_shapes("tumour", [("polygon", [(y + 600, x + 1000) for y, x in BOX])])
    np.testing.assert_allclose(shares(region, None), shares(region, MASK), atol=0.005)


def test_tiles_wholly_inside_count_wholly_and_what_touches_the_slide_not_at_all() -> None:
    whole, beyond = shapely.box(0, 0, 1024, 512), shapely.box(1500, 0, 1600, 100)
    region = MarkedRegion("tumour", shapely.union_all([whole, beyond]))
    np.testing.assert_array_equal(shares(region, None), [[1, 1, 0], [0, 0, 0]])


def test_tiles_are_inside_where_they_share_area_with_any_region() -> None:
    corner = [(0, 0), (0, 512), (512, 512), (512, 0)]  # the first tile, whose neighbours it touches
    speck = [(600, 1200), (600, 1201), (601, 1201), (601, 1200)]
    marked = regions_of_shapes([("a", [("polygon", corner)]), ("b", [("polygon", speck)])])
    np.testing.assert_array_equal(tiles_inside(marked, GRID), [[1, 0, 0], [0, 0, 1]])
    assert not tiles_inside((), GRID).any()


def test_what_is_no_tissue_does_not_count() -> None:
    left = TissueMask(MASK.mask.copy(), MASK.mpp, MASK.downsample)
    left.mask[:, 128:] = False  # the first column of tiles alone
    region = region_of_shapes("tumour", [("rectangle", BOX)])
    found, whole = shares(region, left), shares(region, MASK)
    np.testing.assert_allclose(found[:, 0], whole[:, 0])
    assert not found[:, 1:].any()


@given(
    middle=st.tuples(st.integers(300, 700), st.integers(300, 1200)),
    radii=st.tuples(st.integers(20, 250), st.integers(20, 250)),
    degrees=st.integers(0, 359),
)
def test_an_ellipse_has_its_area_however_it_is_turned(
    middle: tuple[int, int], radii: tuple[int, int], degrees: int
) -> None:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * radii @ turn + middle
    outline = region_of_shapes("tumour", [("ellipse", corners)]).outline
    assert outline.area == pytest.approx(np.pi * radii[0] * radii[1], rel=1e-3)
    assert (outline.centroid.y, outline.centroid.x) == pytest.approx(middle, abs=0.1)


def test_shapes_of_a_region_count_once_where_they_overlap_and_lines_not_at_all() -> None:
    moved = [(y, x + 100) for y, x in BOX]
    shapes = [("polygon", BOX), ("path", [(0, 0), (9, 9), (0, 9)]), ("polygon", moved)]
    assert region_of_shapes("tumour", shapes).outline.area == 600 * 800


def test_an_outline_that_crosses_itself_is_mended() -> None:
    bow = [(0, 0), (100, 100), (0, 100), (100, 0)]
    assert region_of_shapes("tumour", [("polygon", bow)]).outline.area == pytest.approx(5000)


@pytest.mark.parametrize("shapes", [[], [("line", [(0, 0), (9, 9)])], [("polygon", [(0, 0)] * 4)]])
def test_a_layer_that_encloses_nothing_is_left_out(shapes: list) -> None:
    found = regions_of_shapes([("ruler", shapes), ("tumour", [("polygon", BOX)])])
    assert [one.name for one in found] == ["tumour"]


def test_layers_of_one_name_are_one_region_also_where_napari_numbers_them() -> None:
    far = [(y, x + 2000) for y, x in BOX]
    (found,) = regions_of_shapes(
        [("Invasive tumour", [("polygon", BOX)]), ("invasive tumour [1]", [("polygon", far)])]
    )
    assert found.name == "Invasive tumour"
    assert found.outline.area == 2 * 600 * 700


@pytest.mark.parametrize(
    ("names", "tumour"),
    [
        (["stroma", " Invasive Tumour "], "Invasive Tumour"),
        (["Invasive tumor"], "Invasive tumor"),
        (["Tumor"], "Tumor"),  # QuPath's own class
        (["Tumor", "invasive tumour"], "invasive tumour"),
        (["in situ", "tumour bed", "tumorous"], None),
        ([], None),
    ],
)
def test_invasive_tumour_is_known_by_its_name(names: list[str], tumour: str | None) -> None:
    found = invasive_tumour(regions_of_shapes([(name, [("polygon", BOX)]) for name in names]))
    assert (None if found is None else found.name) == tumour


def test_both_spellings_of_tumour_are_one_region() -> None:
    far = [(y, x + 2000) for y, x in BOX]
    (found,) = regions_of_shapes(
        [("Invasive tumor", [("polygon", BOX)]), ("invasive tumour", [("polygon", far)])]
    )
    assert found.outline.area == 2 * 600 * 700


def feature(outline: shapely.Geometry, **properties: object) -> dict[str, object]:
    mapped = shapely.geometry.mapping(outline)
    return {"type": "Feature", "geometry": mapped, "properties": properties}


def test_regions_come_from_a_file_of_qupath(tmp_path: Path) -> None:
    ring = shapely.box(0, 0, 1000, 1000) - shapely.box(200, 200, 800, 800)
    features = [
        feature(ring, classification={"name": "Tumor", "color": [200, 0, 0]}),
        feature(shapely.box(1000, 0, 1100, 100), name="", classification={"name": "Tumor"}),
        feature(shapely.box(0, 0, 10, 10), name="invasive tumour", classification=None),
        feature(shapely.box(0, 0, 10, 10)),
        feature(shapely.LineString([(0, 0), (9, 9)]), name="ruler"),
        {"type": "Feature", "geometry": None, "properties": {"name": "nothing"}},
    ]
    for content in ({"type": "FeatureCollection", "features": features}, features):
        path = tmp_path / "Regionen ä.geojson"
        path.write_text(json.dumps(content), encoding="utf-8")
        found = read_regions(path)
        assert [one.name for one in found] == ["Tumor", "invasive tumour", "region"]
        assert found[0].outline.area == 1000**2 - 600**2 + 100**2
    hole = shares(found[0], MASK)[0, 0]
    assert hole == pytest.approx((512**2 - 312**2) / 512**2, abs=0.005)


def test_what_qupath_classes_as_tumour_is_tumour_whatever_it_is_called(tmp_path: Path) -> None:
    left, right = shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10)
    features = [
        feature(left, name="A1", classification={"name": "Tumor"}),
        feature(right, name="A2", classification={"name": "Tumor"}),
        feature(right, name="A3", classification={"name": "Stroma"}),
        feature(left, name="Invasive tumor", classification={"name": "Tumor"}),
    ]
    path = tmp_path / "regions.geojson"
    path.write_text(json.dumps(features), encoding="utf-8")
    found = read_regions(path)
    assert [one.name for one in found] == ["A1", "Tumor", "A2", "A3", "Invasive tumor"]
    assert invasive_tumour(found[:4]) is found[1]
    assert found[1].outline.equals(shapely.union(left, right))


def test_nested_classes_of_qupath_are_regions_of_their_own(tmp_path: Path) -> None:
    """It writes them as `names` since 0.4."""
    left, right = shapely.box(0, 0, 10, 10), shapely.box(10, 0, 30, 10)
    features = [
        feature(left, classification={"names": ["Tumor", "Positive"], "color": [200, 0, 0]}),
        feature(right, classification={"names": ["Stroma", "Negative"]}),
        feature(left, classification="Necrosis"),
    ]
    path = tmp_path / "regions.geojson"
    path.write_text(json.dumps(features), encoding="utf-8")
    found = read_regions(path)
    assert [one.name for one in found] == ["Tumor: Positive", "Stroma: Negative", "Necrosis"]
    assert [one.outline.area for one in found] == [100, 200, 100]
    assert invasive_tumour(found) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_regions_come_in_any_of_unicodes_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "regions.geojson"
    marked = [feature(shapely.box(0, 0, 10, 10), name="Gewebe ü")]
    path.write_text(json.dumps(marked, ensure_ascii=False), encoding=encoding)
    assert [one.name for one in read_regions(path)] == ["Gewebe ü"]


def test_an_unknown_encoding_is_named_in_few_words(tmp_path: Path) -> None:
    path = tmp_path / "regions.geojson"
    marked = [feature(shapely.box(0, 0, 10, 10), name="Gewebe ü" * 500)]
    path.write_text(json.dumps(marked, ensure_ascii=False), encoding="latin-1")
    with pytest.raises(SlideError, match="'utf-8' codec can't decode byte 0xfc") as refused:
        read_regions(path)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"type": "FeatureCollection", "features": [{}]}',
        '{"features": 3}',
        "\xff",
        "null",
        '[{"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [NaN, 1], [1, 1], [0, 0]]]}}]',
    ],
)
def test_what_is_no_geojson_is_refused_with_its_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "regions.geojson"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(SlideError, match=r"regions\.geojson"):
        read_regions(path)


def test_a_file_of_regions_that_is_not_there_is_told_in_the_systems_words(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"nowhere\.geojson, but: No such file"):
        read_regions(tmp_path / "nowhere.geojson")
