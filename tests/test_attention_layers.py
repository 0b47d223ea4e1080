"""Layer tuples of attention: right place, right size, accepted by napari."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_hmkd.attention_layers import (
    BAG_LIMITS,
    IMPORTANCE,
    QUERY,
    TOKEN,
    agreement_layer,
    bag_layer,
    importance_layers,
    mosaic_layer,
    query_layers,
    tile_layer,
    token_at,
)
from napari_hmkd.geometry import Size
from napari_hmkd.inspection.faithfulness import Faithfulness
from napari_hmkd.inspection.importance import Method
from napari_hmkd.inspection.maps import MapKind, Mosaic, look_of
from napari_hmkd.inspection.tile import Gaze, TileInspection
from napari_hmkd.layers import LayerData
from napari_hmkd.tiling import TileGrid

MPP = (2.5, 3.0)  # no whole number of level-0 px per tile
GRID = TileGrid(Size(1000, 1200), MPP, tile_px=256, model_mpp=4.0)
TILE = (1, 2)
TILE_UM = 1024.0
ABOUT = {"model": "random student", "notice": "random weights, research use only"}
RNG = np.random.default_rng(0)


def matrices(scale: float) -> tuple[np.ndarray, ...]:
    return tuple(scale * RNG.random((n, n), np.float32) for n in (64, 16, 4))


@pytest.fixture
def inspection() -> TileInspection:
    gazes = {Gaze.STUDENT: 1.0, Gaze.TEACHER_HE: 2.0, Gaze.TEACHER_IHC: 3.0}
    attention = {gaze: matrices(scale) for gaze, scale in gazes.items()}
    return TileInspection(attention, (np.zeros(4),) * 2, (np.full(4, 0.25),) * 2, {})


def corner_um(kwargs: dict[str, Any]) -> np.ndarray:
    """Outer corner of an image's first pixel; that of a slide layer is at -mpp / 2."""
    return np.array(kwargs["translate"]) - np.array(kwargs["scale"]) / 2


def of_tile_um(tile: tuple[int, int]) -> np.ndarray:
    return np.array(tile) * TILE_UM - np.array(MPP) / 2


def all_layers(inspection: TileInspection) -> list[LayerData]:
    maps = {method: RNG.random((8, 8)) for method in Method}
    return [
        mosaic_layer(Mosaic((0, 1), (2, 2), 8), MapKind.DIFFERENCE, 0, GRID, ABOUT),
        agreement_layer(np.full((GRID.rows, GRID.columns), 0.5, np.float32), GRID, ABOUT),
        bag_layer(np.ones((GRID.rows, GRID.columns), np.float32), "HER2", GRID, ABOUT),
        *query_layers(inspection, GRID, TILE, 0, (3, 4), ABOUT),
        *importance_layers(Faithfulness(0, maps, {}), GRID, TILE, ABOUT),
        tile_layer(GRID, TILE, ABOUT),
    ]


@pytest.mark.parametrize("kind", MapKind)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_mosaic_covers_its_tiles_in_the_colours_of_its_kind(kind: MapKind, level: int) -> None:
    side = (8, 4, 2)[level]
    mosaic = Mosaic((0, 1), (2, 3), side)
    data, kwargs, _ = mosaic_layer(mosaic, kind, level, GRID, ABOUT)
    assert data is mosaic.data
    assert np.array(kwargs["scale"]) * data.shape == pytest.approx([2 * TILE_UM, 3 * TILE_UM])
    assert corner_um(kwargs) == pytest.approx(of_tile_um((0, 1)))
    look = look_of(kind, side)
    assert kwargs["contrast_limits"] == pytest.approx(look.limits, abs=look.limits[1] / 400)
    assert kwargs["contrast_limits"][0] < look.limits[0]
    assert kwargs["colormap"]["name"].startswith(look.colours)
    assert kwargs["name"] == f"{kind}, level {level}"


def test_agreement_has_a_pixel_a_tile() -> None:
    agreement = np.full((GRID.rows, GRID.columns), np.nan, np.float32)
    _, kwargs, _ = agreement_layer(agreement, GRID, ABOUT)
    assert kwargs["scale"] == pytest.approx((TILE_UM, TILE_UM))
    assert corner_um(kwargs) == pytest.approx(of_tile_um((0, 0)))


@pytest.mark.parametrize("most", [0.5, 30.0])
def test_a_bags_attention_has_a_pixel_a_tile_and_the_same_limits_for_all(most: float) -> None:
    attention = np.linspace(0, most, GRID.rows * GRID.columns, dtype=np.float32)
    data, kwargs, _ = bag_layer(attention.reshape(GRID.rows, -1), "ER", GRID, ABOUT)
    assert data.shape == (GRID.rows, GRID.columns)
    assert kwargs["scale"] == pytest.approx((TILE_UM, TILE_UM))
    assert corner_um(kwargs) == pytest.approx(of_tile_um((0, 0)))
    assert kwargs["contrast_limits"] == pytest.approx(BAG_LIMITS, abs=0.01)
    assert BAG_LIMITS[0] < 1 < BAG_LIMITS[1], "an even share is told from either end"
    assert "ER" in kwargs["name"]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_query_shows_both_networks_in_the_same_limits_and_outlines_its_token(
    inspection: TileInspection, level: int
) -> None:
    side, token = (8, 4, 2)[level], (1, 0)
    *images, (corners, outline, kind) = query_layers(inspection, GRID, TILE, level, token, ABOUT)
    rows = [inspection.looked_at_from(gaze, level, token) for gaze in QUERY]
    for row, (data, kwargs, _) in zip(rows, images, strict=True):
        assert data.tolist() == row.tolist()
        assert kwargs["contrast_limits"] == (0.0, max(float(row.max()) for row in rows))
        assert np.array(kwargs["scale"]) * data.shape == pytest.approx([TILE_UM, TILE_UM])
        assert corner_um(kwargs) == pytest.approx(of_tile_um(TILE))
    assert (outline["name"], kind) == (TOKEN, "shapes")
    token_um = TILE_UM / side
    found_um = np.array(corners[0]) * outline["scale"] + outline["translate"]
    assert found_um[0] == pytest.approx(of_tile_um(TILE) + np.array(token) * token_um)
    assert found_um[2] - found_um[0] == pytest.approx([token_um, token_um])


def test_without_a_teacher_a_query_shows_the_student(inspection: TileInspection) -> None:
    alone = TileInspection({Gaze.STUDENT: inspection.attention[Gaze.STUDENT]}, (), (), {})
    names = [one[1]["name"] for one in query_layers(alone, GRID, TILE, 1, (0, 0), ABOUT)]
    assert names == [QUERY[Gaze.STUDENT], TOKEN]


def test_each_importance_goes_from_0_to_its_own_greatest(inspection: TileInspection) -> None:
    maps = {Method.OCCLUSION: RNG.random((4, 4)), Method.GRADIENT: np.zeros((4, 4))}
    layers = importance_layers(Faithfulness(1, maps, {}), GRID, TILE, ABOUT)
    by_name = {kwargs["name"]: (data, kwargs) for data, kwargs, _ in layers}
    assert set(by_name) == set(IMPORTANCE.values())
    for method, most in ((Method.OCCLUSION, maps[Method.OCCLUSION].max()), (Method.GRADIENT, 1.0)):
        data, kwargs = by_name[IMPORTANCE[method]]
        assert data is maps[method]
        assert kwargs["contrast_limits"] == (0.0, most)
        assert corner_um(kwargs) == pytest.approx(of_tile_um(TILE))
    assert [kwargs["visible"] for _, kwargs, _ in layers] == [True, False]


@pytest.mark.parametrize(
    ("place", "token"),
    [((0.0, 0.0), (0, 0)), ((0.49, 0.51), (3, 4)), ((0.999, 0.25), (7, 2)), ((1.0, -0.01), (7, 0))],
)
def test_a_position_belongs_to_the_token_around_it(
    place: tuple[float, float], token: tuple[int, int]
) -> None:
    y_px, x_px = (np.array(TILE) + place) * GRID.step_px
    assert token_at(GRID, TILE, 8, y_px, x_px) == token


def test_every_layer_carries_the_notice_and_is_taken_by_napari(inspection: TileInspection) -> None:
    layers = pytest.importorskip("napari.layers", reason="needs napari")
    for one in all_layers(inspection):
        layer = layers.Layer.create(*one)
        assert layer.metadata["napari_hmkd"] == ABOUT
        assert str(layer.units[0]) == "micrometer"


def test_what_is_not_known_of_a_map_is_transparent() -> None:
    image = pytest.importorskip("napari.layers", reason="needs napari").Image
    mosaic = Mosaic((0, 0), (1, 1), 2)
    data, kwargs, _ = mosaic_layer(mosaic, MapKind.STUDENT, 2, GRID, ABOUT)
    drawn = image(data, **kwargs).colormap
    assert (drawn.map(mosaic.data.ravel())[:, 3] == 0).all()
    assert drawn.map(np.array([0.0]))[0, 3] == 0, "as some graphics drivers draw NaN"
