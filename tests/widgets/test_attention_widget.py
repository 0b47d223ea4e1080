from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari_hmkd.errors import SlideStalledError
from napari_hmkd.grading import open_model
from napari_hmkd.planning import read_tile, tile_grid
from napari_hmkd.reader import read_slides
from napari_hmkd.slide import Slide, open_slide
from napari_hmkd.tile_attention import attention_of_tile
from napari_hmkd.widgets.attention_run import AttentionRequest, compute_attention
from napari_hmkd.widgets.attention_widget import AttentionWidget
from napari_hmkd.widgets.viewing import add_layers, slide_of

pytestmark = pytest.mark.gui
PATIENCE_MS = 60_000


@pytest.fixture
def widget(viewer, pair) -> AttentionWidget:
    add_layers(viewer, read_slides(pair.ihc) + read_slides(pair.he))
    widget = AttentionWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Show attention")
    return widget


def show(widget: AttentionWidget, qtbot, y_px: float, x_px: float) -> None:
    shown: list[object] = []
    widget.run.shown.connect(shown.append)
    widget.run.failed.connect(pytest.fail)
    widget.show_tile_at(y_px, x_px)
    qtbot.waitUntil(lambda: bool(shown), timeout=PATIENCE_MS)
    widget.run.shown.disconnect(shown.append)


def test_the_students_maps_lie_over_the_tile_at_true_scale(
    viewer, widget: AttentionWidget, qtbot
) -> None:
    he_layer = widget.slide.value
    slide = slide_of(he_layer)
    assert slide.path.name == "he.ome.tif"
    he_layer.translate = (400, -30)  # as a user may move it
    widget.ihc.value = None
    show(widget, qtbot, 600, 1100)
    student = open_model("demo")
    grid = tile_grid(slide, student.card)
    tile = grid.tile_at(600, 1100)
    assert tile == (1, 2)
    expected = attention_of_tile(student, read_tile(slide, grid, tile)).student
    for level, maps in enumerate(expected):
        layer = viewer.layers[f"attention of the student, level {level}"]
        np.testing.assert_allclose(layer.data, maps, rtol=1e-4, atol=1e-6)
        tokens = layer.data.shape[0]
        assert tokens == 512 // (32, 64, 128)[level]
        first = np.asarray(he_layer.world_to_data(layer.data_to_world((-0.5, -0.5)))) + 0.5
        last = np.asarray(he_layer.world_to_data(layer.data_to_world((tokens - 0.5,) * 2))) + 0.5
        np.testing.assert_allclose(first, grid.origins(tile)[0], atol=1e-6)
        np.testing.assert_allclose(last, grid.origins((2, 3))[0], atol=1e-6)
    assert not any("teacher" in layer.name for layer in viewer.layers)
    assert "IHC" in widget.status.value


def test_the_teachers_maps_come_with_the_registered_ihc(
    viewer, widget: AttentionWidget, qtbot
) -> None:
    ihc_layer = viewer.layers["ihc.ome.tif"]
    widget.ihc.value = ihc_layer
    show(widget, qtbot, 600, 1100)
    he, ihc = slide_of(widget.slide.value), slide_of(ihc_layer)
    student, teacher = open_model("demo"), open_model("demo-teacher", "teacher")
    grid = tile_grid(he, student.card)
    tiles = (read_tile(slide, grid, (1, 2)) for slide in (he, ihc))
    expected = attention_of_tile(student, next(tiles), teacher, next(tiles)).teacher
    layer = viewer.layers["attention of the teacher, level 0"]
    np.testing.assert_allclose(layer.data, expected[0], rtol=1e-4, atol=1e-6)


def test_another_tile_moves_the_layers_and_adds_none(
    viewer, widget: AttentionWidget, qtbot
) -> None:
    widget.ihc.value = None
    show(widget, qtbot, 600, 1100)
    count = len(viewer.layers)
    layer = viewer.layers["attention of the student, level 0"]
    layer.opacity = 0.9
    before = tuple(layer.translate)
    show(widget, qtbot, 100, 100)
    assert len(viewer.layers) == count
    assert tuple(layer.translate) != before
    assert layer.opacity == 0.9


def test_following_the_cursor_asks_for_the_tile_under_it_once(
    viewer, widget: AttentionWidget, qtbot, monkeypatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(widget.run, "show", lambda layer, tile, *rest: asked.append(tile))

    class Move:
        position = (600 * 0.92, 1100 * 0.92)

    widget._on_mouse_move(viewer, Move())
    assert asked == []  # not switched on
    widget.follow.value = True
    widget._on_mouse_move(viewer, Move())
    widget._on_mouse_move(viewer, Move())
    assert asked == [(1, 2)]


def test_a_missing_teacher_file_is_named(viewer, widget: AttentionWidget, qtbot) -> None:
    widget.ihc.value = viewer.layers["ihc.ome.tif"]
    widget.teacher.value = "no such teacher.safetensors"
    messages: list[str] = []
    widget.run.failed.connect(messages.append)
    with qtbot.captureExceptions():
        widget.show_tile_at(600, 1100)
        qtbot.waitUntil(lambda: bool(messages), timeout=PATIENCE_MS)
    assert "no such teacher.safetensors" in messages[0]


@pytest.mark.parametrize("stalled", ["he.ome.tif", "ihc.ome.tif"])
def test_a_slide_that_does_not_answer_is_waited_for_in_bounds(
    pair, monkeypatch, stalled: str
) -> None:
    plain = Slide.in_time

    def in_time(slide: Slide, function):
        if slide.name == stalled:
            raise SlideStalledError(f"{stalled} did not answer")
        return plain(slide, function)

    monkeypatch.setattr(Slide, "in_time", in_time)
    with open_slide(pair.he) as he, open_slide(pair.ihc) as ihc:
        request = AttentionRequest(he, (0, 0), "demo", "demo-teacher", ihc, (0.0, 0.0))
        with pytest.raises(SlideStalledError, match=stalled):
            compute_attention(request)
