"""Where the token under the cursor attends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.inspector import Opening, expected, press_and_wait
from tests.widgets.pressing import PATIENCE_MS

from napari_hmkd.attention_layers import QUERY, TOKEN
from napari_hmkd.inspection import tile as inspection_of_tile
from napari_hmkd.inspection.tile import Gaze
from napari_hmkd.widgets.attention_widget import AttentionWidget
from napari_hmkd.widgets.side_by_side import grid_of

pytestmark = [pytest.mark.slow, pytest.mark.gui, pytest.mark.usefixtures("undoubted")]
TILE_PX = 256
SIDES = (8, 4, 2)
OFF_UM = (
    16.0,
    -24.0,
)  # of the IHC's layer: the mottle of both slides is the same, and is found again


@pytest.fixture
def move_to(viewer) -> Callable[[float, float], None]:
    """Move the mouse to a position in level-0 px of an H&E slide that lies where it was opened."""

    def move(y_px: float, x_px: float) -> None:
        world = (np.array((y_px, x_px)) - 0.5) * 4.0
        for callback in list(viewer.mouse_move_callbacks):
            callback(viewer, SimpleNamespace(position=tuple(world)))

    return move


def place(tile: tuple[int, int], token: tuple[int, int], side: int) -> tuple[float, float]:
    """The middle of a token, level-0 px."""
    y, x = (np.array(tile) + (np.array(token) + 0.5) / side) * TILE_PX
    return float(y), float(x)


def outlined(viewer, slide_layer, name: str = TOKEN) -> np.ndarray:
    """The corners of an outline in level-0 px of a slide."""
    layer = viewer.layers[name]
    return np.array(
        [np.asarray(slide_layer.world_to_data(layer.data_to_world(one))) for one in layer.data[0]]
    )


def wait(panel: AttentionWidget, qtbot) -> None:
    qtbot.waitUntil(lambda: not panel.query.run.running, timeout=PATIENCE_MS)


def test_in_a_known_tile_the_token_under_the_cursor_is_shown_at_once(
    viewer, qtbot, open_inspector: Opening, move_to, monkeypatch
) -> None:
    panel = open_inspector()
    he_layer = panel.form.slide.value
    press_and_wait(panel, qtbot)
    inspection = expected(panel, (1, 0))
    monkeypatch.setattr(inspection_of_tile, "_run", lambda *_: pytest.fail("a network was run"))
    panel.follow.value = True
    for level, side in enumerate(SIDES):
        panel.form.level.value = level
        for token in [(0, 0), (1, 0), (side - 1, side - 1)]:
            move_to(*place((1, 0), token, side))
            assert not panel.query.run.running
            for gaze, name in QUERY.items():
                looked_at = inspection.looked_at_from(gaze, level, token)
                shown = viewer.layers[name].data
                np.testing.assert_allclose(shown, looked_at, rtol=1e-4, atol=1e-6)
            corners = outlined(viewer, he_layer) + 0.5
            np.testing.assert_allclose(corners.mean(axis=0), place((1, 0), token, side), atol=1e-6)
            np.testing.assert_allclose(np.ptp(corners, axis=0), TILE_PX / side, atol=1e-6)
            assert f"token {token[0]}, {token[1]}" in panel.status.value
        of_tile, last = viewer.layers[QUERY[Gaze.STUDENT]], outlined(viewer, he_layer)
        he_layer.affine = [[0.9, -0.3, 50], [0.3, 0.9, -20], [0, 0, 1]]
        corner = np.asarray(he_layer.world_to_data(of_tile.data_to_world((-0.5, -0.5)))) + 0.5
        np.testing.assert_allclose(corner, (TILE_PX, 0), atol=1e-6)
        np.testing.assert_allclose(outlined(viewer, he_layer), last, atol=1e-6)
        he_layer.affine = np.eye(3)


def test_a_tile_that_is_not_known_is_inspected_once(
    viewer, qtbot, open_inspector: Opening, move_to
) -> None:
    panel = open_inspector()
    move_to(*place((0, 1), (2, 3), 8))
    assert not panel.query.run.running, "not switched on"
    panel.follow.value = True
    for token in [(2, 3), (2, 4), (5, 5)]:
        move_to(*place((0, 1), token, 8))
    wait(panel, qtbot)
    inspection = expected(panel, (0, 1))
    looked_at = inspection.looked_at_from(Gaze.TEACHER_HE, 0, (5, 5))
    shown = viewer.layers[QUERY[Gaze.TEACHER_HE]].data
    np.testing.assert_allclose(shown, looked_at, rtol=1e-4, atol=1e-6)
    assert list(panel.scene.findings.rows) == [(0, 1)]
    panel.follow.value = False
    move_to(*place((1, 1), (0, 0), 8))
    assert not panel.query.run.running


def test_the_latest_tile_is_shown_and_those_in_between_are_left(
    viewer, qtbot, open_inspector: Opening, move_to
) -> None:
    panel = open_inspector()
    panel.follow.value = True
    for tile in [(0, 0), (0, 1), (0, 2), (1, 2)]:
        move_to(*place(tile, (0, 0), 8))
    wait(panel, qtbot)
    assert set(panel.scene.findings.rows) <= {(0, 0), (1, 2)}
    corners = outlined(viewer, panel.form.slide.value) + 0.5
    np.testing.assert_allclose(corners[0], (TILE_PX, 2 * TILE_PX), atol=1e-6)


def test_what_the_user_changed_about_the_layers_stays(
    viewer, qtbot, open_inspector: Opening, move_to
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    panel.follow.value = True
    move_to(*place((0, 0), (0, 0), 8))
    layer, count = viewer.layers[QUERY[Gaze.STUDENT]], len(viewer.layers)
    active = viewer.layers.selection.active
    layer.opacity = 0.4
    viewer.layers.remove(TOKEN)
    move_to(*place((0, 1), (0, 0), 8))
    assert viewer.layers[QUERY[Gaze.STUDENT]] is layer
    assert layer.opacity == 0.4
    assert len(viewer.layers) == count
    assert viewer.layers.selection.active is active


def test_without_ihc_the_students_row_is_shown(
    viewer, qtbot, open_inspector: Opening, move_to
) -> None:
    panel = open_inspector(with_ihc=False)
    panel.follow.value = True
    move_to(*place((0, 0), (0, 0), 8))
    wait(panel, qtbot)
    names = {layer.name for layer in viewer.layers}
    assert names == {"he.tif", "ihc.tif", QUERY[Gaze.STUDENT], TOKEN}


@pytest.mark.parametrize("where", [(-5.0, 10.0), (10.0, 3 * TILE_PX + 5.0)])
def test_beside_the_slide_nothing_is_asked(
    viewer, open_inspector: Opening, move_to, where: tuple[float, float]
) -> None:
    panel = open_inspector()
    panel.follow.value = True
    move_to(*where)
    assert not panel.query.run.running
    assert len(viewer.layers) == 2


def test_side_by_side_the_same_token_is_outlined_where_it_was_read_in_both_panes(
    viewer, qtbot, open_inspector: Opening, move_to
) -> None:
    panel = open_inspector()
    he_layer, ihc_layer = viewer.layers["he.tif"], viewer.layers["ihc.tif"]
    ihc_layer.translate = OFF_UM
    press_and_wait(panel, qtbot)
    panel.beside.native.click()
    panel.follow.value = True
    move_to(*place((1, 2), (3, 4), 8))
    grid, layers = grid_of(viewer), viewer.layers
    panes = [{layers[i].name for i in held} for _, held in grid.iter_viewboxes(layers)]
    assert len(panes) == 2
    assert panes[1] == {"ihc.tif", "token on the IHC"}
    assert {"he.tif", TOKEN, *QUERY.values()} <= panes[0]
    twin = outlined(viewer, ihc_layer, "token on the IHC")
    np.testing.assert_allclose(twin, outlined(viewer, he_layer), atol=0.05)
    panel.beside.native.click()
    assert not grid.enabled
    assert "token on the IHC" not in layers


def test_a_token_stays_outlined_in_its_own_tile_when_another_is_chosen_in_the_table(
    viewer, qtbot, open_inspector: Opening, move_to
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    rows = panel.scene.findings.rows
    for tile, moved_um in (((1, 2), 8.0), ((0, 0), -40.0)):
        rows[tile] = replace(rows[tile], moved_y_um=moved_um, moved_x_um=0.0)
    panel.beside.native.click()
    panel.follow.value = True
    move_to(*place((1, 2), (3, 4), 8))
    panel.scene.go_to((0, 0))
    panel.form.level.value = 1
    apart = viewer.layers["token on the IHC"].translate - viewer.layers[TOKEN].translate
    np.testing.assert_allclose(apart, (8.0, 0.0), atol=1e-6)


def test_a_token_that_is_outlined_already_gets_its_twin_when_the_ihc_gets_a_pane(
    viewer, qtbot, open_inspector: Opening, move_to
) -> None:
    panel = open_inspector()
    panel.follow.value = True
    move_to(*place((1, 2), (3, 4), 8))
    wait(panel, qtbot)
    panel.follow.value = False
    assert "token on the IHC" not in viewer.layers
    panel.beside.native.click()
    assert "token on the IHC" in viewer.layers
    grid, layers = grid_of(viewer), viewer.layers
    panes = [{layers[i].name for i in held} for _, held in grid.iter_viewboxes(layers)]
    assert panes[1] == {"ihc.tif", "token on the IHC"}
    panel.beside.native.click()
    assert "token on the IHC" not in viewer.layers
