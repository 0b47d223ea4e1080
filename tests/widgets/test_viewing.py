"""What of a slide is on screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari.utils import resize_dask_cache

from napari_hmkd.geometry import Region
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets.viewing import add_layers, camera, visible_region

pytestmark = pytest.mark.gui
SIDES_PX = (1024, 1280)
MPP = 4.0
CANVAS_PX = (400, 600)
ZOOM = 0.5  # px of the screen per um: 200 x 300 px of the slide fill the canvas
MIDDLE_UM = (2000.0, 2400.0)  # pixel (500, 600), whose middle is at (500.5, 600.5)


@pytest.fixture
def slide_layer(viewer, paint_slide, tmp_path: Path):
    (layer,) = add_layers(viewer, read_slides(paint_slide(tmp_path / "slide.tif", [[0] * 5] * 4)))
    viewer.canvas.size = CANVAS_PX
    look(viewer, MIDDLE_UM)
    return layer


def look(viewer, middle_um: tuple[float, float], zoom: float = ZOOM) -> None:
    camera(viewer).center, camera(viewer).zoom = middle_um, zoom


def affine(
    degrees: float, scale: float = 1.0, moved_um: tuple[float, float] = (0, 0)
) -> np.ndarray:
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turned = scale * np.array([[cosine, -sine], [sine, cosine]])
    return np.block([[turned, np.array(moved_um)[:, None]], [np.zeros((1, 2)), np.eye(1)]])


def test_the_view_of_a_window_that_was_never_drawn_is_the_cameras(viewer, slide_layer) -> None:
    focus, region = visible_region(viewer, slide_layer)
    assert focus == pytest.approx((500.5, 600.5))
    assert region == Region(400, 450, 201, 301)  # from 400.5 to 600.5, from 450.5 to 750.5


def test_the_view_of_a_drawn_window_is_what_napari_draws(
    viewer, slide_layer, show_window, qtbot
) -> None:
    show_window()
    qtbot.wait(100)
    corners_um = viewer.window._qt_viewer.canvas._viewbox_corners_in_world[:, -2:]
    _, region = visible_region(viewer, slide_layer)
    expected = np.clip(corners_um / MPP + 0.5, 0, SIDES_PX)
    drawn = np.array([(region.y, region.x), (region.bottom, region.right)])
    np.testing.assert_allclose(drawn, expected, atol=1.01)


@pytest.mark.parametrize(
    "placed",
    [
        affine(0, moved_um=(300, -500)),
        affine(90, moved_um=(3000, 0)),
        affine(30, moved_um=(1000, -200)),
        affine(-45, scale=1.5, moved_um=(-1500, 1500)),
    ],
    ids=["moved", "turned by a quarter", "turned", "turned and enlarged"],
)
def test_of_a_moved_slide_it_is_the_rectangle_around_what_is_on_screen(
    viewer, slide_layer, placed: np.ndarray
) -> None:
    slide_layer.affine = placed
    look(viewer, (1800.0, 1500.0), zoom=0.8)
    half_um = np.array(CANVAS_PX) / 0.8 / 2
    corners_um = np.array([[1800, 1500] + half_um * side for side in (-1, 1)])
    world = np.array([(y, x, 1) for y in corners_um[:, 0] for x in corners_um[:, 1]])
    corners_px = (np.linalg.inv(placed) @ world.T)[:2].T / MPP + 0.5
    expected = np.clip([corners_px.min(axis=0), corners_px.max(axis=0)], 0, SIDES_PX)
    _, region = visible_region(viewer, slide_layer)
    found = np.array([(region.y, region.x), (region.bottom, region.right)])
    assert (np.diff(expected, axis=0) > 100).all(), "much of the slide is in view"
    np.testing.assert_array_equal(found, [np.floor(expected[0]), np.ceil(expected[1])])


@pytest.mark.parametrize("middle_um", [(-9e3, 2e3), (2e3, -9e3), (9e3, 2e3), (9e3, 9e3)])
def test_where_nothing_of_the_slide_is_on_screen_the_region_is_empty(
    viewer, slide_layer, middle_um: tuple[float, float]
) -> None:
    look(viewer, middle_um)
    _, region = visible_region(viewer, slide_layer)
    assert region.height * region.width == 0


def test_napari_keeps_no_pixels_of_its_own(viewer, paint_slide, tmp_path: Path) -> None:
    """Its cache may fill a quarter of the memory, whatever ours is bounded to."""
    kept = resize_dask_cache().cache
    kept.clear()
    (layer,) = add_layers(viewer, read_slides(paint_slide(tmp_path / "slide.tif", [[0] * 5] * 4)))
    assert layer.loaded
    assert kept.total_bytes == 0
