"""The attention inspector: maps of what is in view, agreement, worst tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.inspector import EVERY_TILE, Opening, expected, map_layer, press_and_wait
from tests.widgets.pressing import PATIENCE_MS

from napari_hmkd.attention_layers import AGREEMENT, QUERY
from napari_hmkd.errors import ModelError
from napari_hmkd.inspection import tile as inspection_of_tile
from napari_hmkd.inspection.maps import ALONE, MapKind, tokens_of
from napari_hmkd.inspection.tile import LEVELS
from napari_hmkd.reader import read_slides
from napari_hmkd.tiling import TileGrid
from napari_hmkd.widgets import attention_findings, attention_run, attention_subject
from napari_hmkd.widgets.attention_widget import AttentionWidget
from napari_hmkd.widgets.notice import text_overlay
from napari_hmkd.widgets.viewing import add_layers, camera, visible_region

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("undoubted")]
TILE_UM = 1024.0


def look_only_at(viewer, tile: tuple[int, int]) -> None:
    """Have the middle of a tile fill the view."""
    view = camera(viewer)
    view.zoom = 100
    view.center = (*view.center[:-2], *((np.array(tile) + 0.5) * TILE_UM))


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Tiles after the first wait for this."""
    plain, go_on = attention_run.inspect_slide, Event()

    def inspect_slide(*where):
        for step in plain(*where):
            yield step
            assert go_on.wait(30)

    monkeypatch.setattr(attention_run, "inspect_slide", inspect_slide)
    return go_on


@pytest.mark.slow
@pytest.mark.parametrize("with_ihc", [True, False], ids=["IHC", "no IHC"])
def test_the_map_lies_over_its_tiles_and_goes_along_with_the_slide(
    viewer, qtbot, open_inspector: Opening, with_ihc: bool
) -> None:
    panel = open_inspector(with_ihc=with_ihc)
    he_layer = panel.form.slide.value
    press_and_wait(panel, qtbot)
    layer, grid = map_layer(panel, viewer), panel.scene.findings.grid
    for tile in EVERY_TILE:
        received = tokens_of(expected(panel, tile, with_ihc), MapKind.STUDENT, 0)
        rows, columns = (slice(8 * place, 8 * place + 8) for place in tile)
        np.testing.assert_allclose(layer.data[rows, columns], received, rtol=1e-4, atol=1e-6)
    for _ in range(2):
        for tile in EVERY_TILE:
            world = layer.data_to_world(8 * np.array(tile) - 0.5)
            on_slide = np.asarray(he_layer.world_to_data(world)) + 0.5
            np.testing.assert_allclose(on_slide, grid.origins(tile)[0], atol=1e-6)
        he_layer.affine = [[0.9, -0.3, 50], [0.3, 0.9, -20], [0, 0, 1]]


@pytest.mark.slow
def test_another_map_or_level_is_drawn_from_what_is_kept(
    viewer, qtbot, open_inspector: Opening, runs: list[str]
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    assert sorted(runs) == ["student"] * 6 + ["teacher"] * 6
    layer, layers = map_layer(panel, viewer), len(viewer.layers)
    layer.opacity = 0.3
    inspection = expected(panel, (1, 2))
    runs.clear()
    for kind in MapKind:
        for level in LEVELS:
            panel.form.kind.value, panel.form.level.value = kind, level
            assert map_layer(panel, viewer) is layer
            tokens = tokens_of(inspection, kind, level)
            of_tile = layer.data[-len(tokens) :, -len(tokens) :]
            np.testing.assert_allclose(of_tile, tokens, rtol=1e-4, atol=1e-6)
    assert (runs, layer.opacity, len(viewer.layers)) == ([], 0.3, layers)


@pytest.mark.slow
def test_a_map_has_a_bar_of_its_colours_which_stays_off_once_it_is_switched_off(
    viewer, qtbot, open_inspector: Opening
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot, "whole_slide")
    press_and_wait(panel, qtbot)
    panel.query.look_at(100, 100)
    bars = {
        layer.name: layer.colorbar.visible
        for layer in viewer.layers
        if "slide" not in layer.metadata.get("napari_hmkd", {}) and hasattr(layer, "colorbar")
    }
    of_token = dict.fromkeys(QUERY.values(), False)
    assert bars == {AGREEMENT: True, map_layer(panel, viewer).name: True, **of_token}
    places = {str(text_overlay(viewer).position), str(map_layer(panel, viewer).colorbar.position)}
    assert places == {"top_center", "bottom_right"}, "the notice would lie on it"
    map_layer(panel, viewer).colorbar.visible = False
    panel.form.kind.value = MapKind.DIFFERENCE
    assert not map_layer(panel, viewer).colorbar.visible


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (MapKind.STUDENT, "as much as if all tokens were alike"),
        (MapKind.TEACHER_IHC, "as much as if all tokens were alike"),
        (MapKind.DIFFERENCE, "Above 0 the student looks more"),
        (MapKind.DISCREPANCY, "attention loss"),
    ],
)
def test_the_panel_says_what_the_numbers_of_a_map_are(
    open_inspector: Opening, kind: MapKind, words: str
) -> None:
    panel = open_inspector()
    panel.form.kind.value = kind
    assert words in panel.form.meaning.value
    panel.form.ihc.value = None
    assert "as much as" in panel.form.meaning.value, "there is the student's map alone"


@pytest.mark.slow
def test_tiles_that_are_kept_are_not_inspected_again(
    qtbot, open_inspector: Opening, runs: list[str]
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    runs.clear()
    press_and_wait(panel, qtbot)
    assert runs == []
    assert panel.status.value.startswith("6 of 6")


def test_only_what_is_in_view_is_inspected(viewer, qtbot, open_inspector: Opening) -> None:
    panel = open_inspector()
    look_only_at(viewer, (1, 2))
    press_and_wait(panel, qtbot)
    assert set(panel.scene.findings.rows) == {(1, 2)}
    assert map_layer(panel, viewer).data.shape == (8, 8)


@pytest.mark.slow
def test_where_too_much_is_in_view_the_nearest_tiles_are_inspected(
    viewer, qtbot, open_inspector: Opening, monkeypatch
) -> None:
    monkeypatch.setattr(attention_findings, "MOST_TILES", 2)
    panel = open_inspector()
    focus, _ = visible_region(viewer, panel.form.slide.value)
    press_and_wait(panel, qtbot)
    grid: TileGrid = panel.scene.findings.grid
    nearest = grid.nearest_first(grid.tiles(), focus)[:2].tolist()
    assert set(panel.scene.findings.rows) == {tuple(tile) for tile in nearest}
    assert "of 6 tiles in view" in panel.status.value
    assert "zoom in" in panel.status.value


def test_no_more_tiles_are_inspected_than_are_kept(open_inspector: Opening) -> None:
    panel = open_inspector()
    scene = panel.scene
    subject = scene.turn_to_asked()
    each = expected(panel, (0, 0)).nbytes
    scene.cache.most_bytes = 5 * each + 1
    assert attention_findings.most_tiles(subject, scene.cache) == 4


def test_without_ihc_the_panel_says_what_is_missing(viewer, qtbot, open_inspector: Opening) -> None:
    panel = open_inspector(with_ihc=False)
    assert tuple(panel.form.kind.choices) == ALONE
    assert panel.form.missing.visible
    assert "need both stains" in panel.form.missing.value
    assert not panel.whole_slide.enabled
    press_and_wait(panel, qtbot)
    assert [row.teacher_grade for row in panel.table.rows] == [None] * 6
    assert AGREEMENT not in viewer.layers
    panel.form.ihc.value = viewer.layers["ihc.tif"]
    assert tuple(panel.form.kind.choices) == tuple(MapKind)
    assert not panel.form.missing.visible
    assert panel.whole_slide.enabled


@pytest.mark.slow
def test_agreement_fills_with_the_tiles_that_are_seen_and_then_with_the_whole_slide(
    viewer, qtbot, open_inspector: Opening, runs: list[str]
) -> None:
    panel = open_inspector()
    look_only_at(viewer, (0, 1))
    press_and_wait(panel, qtbot)
    layer = viewer.layers[AGREEMENT]
    assert np.argwhere(np.isfinite(layer.data)).tolist() == [[0, 1]]
    assert not layer.visible, "it would hide the map"
    runs.clear()
    kept = panel.scene.cache.nbytes
    press_and_wait(panel, qtbot, "whole_slide")
    assert viewer.layers[AGREEMENT] is layer
    assert layer.visible
    assert not map_layer(panel, viewer).visible
    assert len(runs) == 2 * 5, "the tile that is known is not inspected again"
    assert panel.scene.cache.nbytes == kept, "nothing of a tile is kept"
    one = expected(panel, (1, 0))
    mean = np.mean([one.agreement(level) for level in LEVELS])
    assert layer.data[1, 0] == pytest.approx(mean, abs=1e-5)
    assert np.isfinite(layer.data).all()
    assert len(panel.table.rows) == 6


@pytest.mark.slow
@pytest.mark.parametrize("button", ["inspect", "whole_slide"])
def test_stop_ends_after_the_tile_and_the_next_press_goes_on(
    qtbot, open_inspector: Opening, one_by_one: Event, runs: list[str], button: str
) -> None:
    panel = open_inspector()
    getattr(panel, button).native.click()
    assert panel.stop.enabled
    assert not panel.form.slide.enabled
    qtbot.waitUntil(lambda: bool(panel.table.rows), timeout=PATIENCE_MS)
    panel.stop.native.click()
    one_by_one.set()
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)
    first = len(panel.table.rows)
    assert first < 6
    assert panel.status.value.startswith("Stopped.")
    assert not panel.stop.enabled
    assert panel.form.slide.enabled
    press_and_wait(panel, qtbot, button)
    assert len(panel.table.rows) == 6
    assert len(runs) <= 2 * 7, "but for what was read ahead, no tile is inspected twice"


@pytest.mark.parametrize("removed", ["he.tif", "ihc.tif"])
def test_a_slide_that_is_removed_in_the_middle_ends_it(
    viewer, qtbot, open_inspector: Opening, one_by_one: Event, removed: str
) -> None:
    panel = open_inspector()
    panel.inspect.native.click()
    qtbot.waitUntil(lambda: bool(panel.table.rows), timeout=PATIENCE_MS)
    viewer.layers.remove(removed)
    one_by_one.set()
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)
    if removed == "he.tif":
        assert {layer.name for layer in viewer.layers} == {"ihc.tif"}
        assert panel.table.rows == []
    else:
        assert len(panel.table.rows) < 6
        assert panel.form.missing.visible
    qtbot.wait(150)  # a map that was to be drawn


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["he_damaged", "ihc_damaged", "not finite"])
def test_a_tile_that_cannot_be_inspected_is_told_and_not_painted(
    viewer, qtbot, open_inspector: Opening, monkeypatch, damaged: str
) -> None:
    if damaged == "not finite":
        count = iter(range(99))

        def run(model, *stains, plain=inspection_of_tile._run):
            if model.card.role == "teacher" and next(count) == 0:
                raise ModelError("its attention is not finite here")
            return plain(model, *stains)

        monkeypatch.setattr(inspection_of_tile, "_run", run)
        panel = open_inspector()
    else:
        panel = open_inspector(**{damaged: ((1, 1),)})
        panel.form.refine.value = (
            False  # moved by a fraction of a px, its neighbours touch the damage
        )
    press_and_wait(panel, qtbot)
    (failed,) = panel.scene.findings.failed
    reason = panel.scene.findings.failed[failed]
    assert panel.status.value.startswith("5 of 6 tiles inspected. 1 could not be")
    assert f"row {failed[0]}, column {failed[1]}: {reason}" in panel.status.value
    data = map_layer(panel, viewer).data
    for tile in EVERY_TILE:
        rows, columns = (slice(8 * place, 8 * place + 8) for place in tile)
        assert np.isnan(data[rows, columns]).all() == (tile == failed)
    assert np.isnan(viewer.layers[AGREEMENT].data).sum() == 1
    assert len(panel.table.rows) == 5
    panel.query.look_at(*(np.array(failed) + 0.5) * 256)
    assert not panel.query.run.running
    assert reason in panel.status.value


def test_a_panel_that_asked_for_a_slide_no_longer_does_once_there_is_one(
    viewer, paint_slide: Callable[..., Path], tmp_path: Path
) -> None:
    panel = AttentionWidget(viewer)
    viewer.window.add_dock_widget(panel)
    panel.inspect.native.click()
    assert "Open a slide first" in panel.status.value
    add_layers(viewer, read_slides(paint_slide(tmp_path / "he.tif", [[0]])))
    assert "Inspect what is in view" in panel.status.value


def test_a_missing_teacher_file_is_named(open_inspector: Opening) -> None:
    panel = open_inspector()
    panel.form.teacher.value = "no such teacher.safetensors"
    panel.inspect.native.click()
    assert not panel.run.running
    assert "no such teacher.safetensors" in panel.status.value


def test_a_network_of_the_wrong_role_is_refused(
    qtbot, open_inspector: Opening, student_file
) -> None:
    panel = open_inspector()
    panel.form.teacher.value = student_file
    press_and_wait(panel, qtbot)
    assert "asked for a teacher" in panel.status.value


@pytest.mark.slow
def test_the_worst_tile_is_gone_to(viewer, qtbot, open_inspector: Opening) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    losses = [row.attention_loss for row in panel.table.rows]
    assert losses == sorted(losses, reverse=True)
    worst = panel.table.rows[0]
    he_layer = panel.form.slide.value
    he_layer.translate = (300, -70)
    panel.table.chosen.emit(worst)
    center = np.array(camera(viewer).center[-2:])
    middle = (np.array([worst.row, worst.column]) + 0.5) * TILE_UM + (300, -70) - 2
    np.testing.assert_allclose(center, middle, atol=1e-6)
    assert panel.scene.tile == (worst.row, worst.column)
    outline = viewer.layers["tile"]
    corners = np.array([outline.data_to_world(one) for one in outline.data[0]])
    np.testing.assert_allclose(corners.mean(axis=0), middle, atol=1e-6)


@pytest.mark.slow
def test_another_network_or_place_of_the_ihc_begins_anew(
    viewer, qtbot, open_inspector: Opening, other_student_file
) -> None:
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    first = {(row.row, row.column): row.attention_loss for row in panel.table.rows}
    viewer.layers["ihc.tif"].translate = (0, 512)
    press_and_wait(panel, qtbot)
    second = {(row.row, row.column): row.attention_loss for row in panel.table.rows}
    assert set(first) == EVERY_TILE
    assert set(second) == {tile for tile in EVERY_TILE if tile[1] > 0}
    assert "50% of it lies beyond the IHC 'ihc.tif'" in panel.status.value
    assert all(first[tile] != second[tile] for tile in second)
    panel.form.student.value = other_student_file
    press_and_wait(panel, qtbot)
    third = {(row.row, row.column): row.attention_loss for row in panel.table.rows}
    assert all(second[tile] != third[tile] for tile in second)


@pytest.mark.slow
def test_the_models_notice_is_on_the_canvas(viewer, qtbot, open_inspector: Opening) -> None:
    press_and_wait(open_inspector(), qtbot)
    assert "random weights" in text_overlay(viewer).text.replace("\n", " ")


@pytest.mark.slow
def test_the_networks_run_on_the_device_that_is_chosen(
    qtbot, open_inspector: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        attention_subject, "choose_device", lambda name: asked.append(name) or torch.device("cpu")
    )
    panel = open_inspector()
    press_and_wait(panel, qtbot)
    panel.form.device.value = "cpu"
    press_and_wait(panel, qtbot, "whole_slide")
    assert asked == ["auto"] * 2 + ["cpu"] * 2, "student and teacher"


def test_networks_and_device_are_remembered(
    viewer, open_inspector: Opening, student_file: Path, teacher_file: Path
) -> None:
    panel = open_inspector()
    panel.form.device.value = "cpu"
    panel.native.parent().title.close_button.click()
    again = AttentionWidget(viewer)
    viewer.window.add_dock_widget(again)
    assert (again.form.student.value, again.form.teacher.value) == (student_file, teacher_file)
    assert again.form.device.value == "cpu"
