"""What lies over a slide goes along with it."""

from __future__ import annotations

import gc
from pathlib import Path
from weakref import ref

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.pressing import PATIENCE_MS, press_and_wait

from napari_hmkd.export import write_results
from napari_hmkd.reader import read_slides
from napari_hmkd.result_files import SavedSlide
from napari_hmkd.slide import Slide
from napari_hmkd.widgets.attention_widget import AttentionWidget
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.guarded_reader import get_reader
from napari_hmkd.widgets.overlay import lay_over, lay_results_over
from napari_hmkd.widgets.viewing import add_layers, slide_layers, slide_of, state_pixel_size

pytestmark = pytest.mark.gui
MOVES = [
    ("translate", (300, -70)),
    ("rotate", 30),
    ("scale", (0.46, 0.46)),
    ("shear", [0.2]),
    ("affine", [[0, -1, 50], [1, 0, 20], [0, 0, 1]]),
]
CORNERS = np.array([(-0.5, -0.5), (-0.5, 2.5), (1.5, 0.5)])


def a_layer(viewer):
    return viewer.add_image(np.zeros((3, 4)), units=("um", "um"))


def on_slide(layer, slide_layer) -> np.ndarray:
    """Where some pixels' corners of a layer are, in the slide's pixels."""
    return np.array([slide_layer.world_to_data(layer.data_to_world(one)) for one in CORNERS])


@pytest.mark.slow
def test_all_that_lies_over_a_slide_moves_with_it_at_once(
    viewer, widget: GradeWidget, qtbot
) -> None:
    slide_layer = widget.slide.value
    widget.region.add()
    assert press_and_wait(widget, qtbot)
    kinds = {layer.name.split(" ")[0] for layer in viewer.layers if layer is not slide_layer}
    assert kinds == {"invasive", "tissue", "HER2", "undecided"}
    attention = AttentionWidget(viewer)
    viewer.window.add_dock_widget(attention)
    attention.inspect_view()
    qtbot.waitUntil(lambda: not attention.run.running, timeout=PATIENCE_MS)
    above = [layer for layer in viewer.layers if layer is not slide_layer]
    assert len(above) > len(kinds), "and the attention"
    before = [on_slide(layer, slide_layer) for layer in above]
    for name, value in MOVES:
        setattr(slide_layer, name, value)
        for layer, place in zip(above, before, strict=True):
            np.testing.assert_allclose(
                on_slide(layer, slide_layer), place, atol=1e-6, err_msg=f"{layer.name}, {name}"
            )


def test_a_region_follows_in_a_panel_that_napari_has_opened(viewer, pair) -> None:
    (slide_layer,) = add_layers(viewer, read_slides(pair.he))
    _, panel = viewer.window.add_plugin_dock_widget("napari-hmkd", "Grade HER2")
    panel.region.add()
    region = viewer.layers[-1]
    gc.collect()
    slide_layer.translate = (7, 8)
    np.testing.assert_allclose(on_slide(region, slide_layer), CORNERS, atol=1e-6)


def test_a_layer_follows_the_slide_that_it_was_last_laid_over(viewer, pair) -> None:
    first, second = add_layers(viewer, read_slides(pair.he) + read_slides(pair.ihc))
    layer = a_layer(viewer)
    lay_over(layer, first)
    lay_over(layer, second)
    first.translate = (100, 100)
    np.testing.assert_allclose(layer.data_to_world((0, 0)), (0, 0))
    second.translate = (7, 8)
    np.testing.assert_allclose(layer.data_to_world((0, 0)), (7, 8))


@pytest.mark.slow
@pytest.mark.parametrize("first", ["slide", "results"])
def test_results_of_a_dropped_folder_follow_their_slide_whichever_came_first(
    viewer, pair, widget: GradeWidget, qtbot, tmp_path: Path, first: str
) -> None:
    assert press_and_wait(widget, qtbot)
    write_results(widget.run.grading, tmp_path / "out")
    viewer.layers.clear()
    for path in (pair.he, tmp_path / "out") if first == "slide" else (tmp_path / "out", pair.he):
        add_layers(viewer, get_reader(str(path))(str(path)))
    (slide_layer,) = slide_layers(viewer)
    results = [layer for layer in viewer.layers if layer is not slide_layer]
    assert results
    before = [on_slide(layer, slide_layer) for layer in results]
    slide_layer.translate, slide_layer.rotate = (30, 40), 20
    for layer, place in zip(results, before, strict=True):
        np.testing.assert_allclose(on_slide(layer, slide_layer), place, atol=1e-6)


def results_of(viewer, slide: Slide, mpp: float = 0.5):
    """A layer as one that was read from a folder, of a slide graded at a pixel size."""
    layer, size = a_layer(viewer), slide.size
    saved = SavedSlide(fingerprint="af12", height_px=size.height, width_px=size.width)
    about = {"slide_name": slide.name, "slide_mpp": (mpp, mpp), "saved_slide": saved}
    layer.metadata["napari_hmkd"] = about
    return layer


@pytest.mark.parametrize("stated", ["before", "after"])
def test_results_lie_right_whatever_pixel_size_is_stated(
    viewer, without_pixel_size: Path, stated: str
) -> None:
    (slide_layer,) = add_layers(viewer, read_slides(without_pixel_size))
    results = results_of(viewer, slide_of(slide_layer))
    if stated == "before":
        state_pixel_size(viewer, slide_layer, 0.25)
    lay_results_over(list(viewer.layers))
    if stated == "after":
        state_pixel_size(viewer, slide_layer, 0.25)
    place_um = np.array((2, 3))  # of the pixel size that they were graded with
    np.testing.assert_allclose(
        slide_layer.world_to_data(results.data_to_world(place_um)), place_um / 0.5, atol=1e-6
    )


def test_results_follow_a_slide_that_is_opened_again(viewer, pair) -> None:
    (former,) = add_layers(viewer, read_slides(pair.he))
    results = results_of(viewer, slide_of(former))
    lay_results_over(list(viewer.layers))
    viewer.layers.remove(former)  # it still lives, as napari's layers do for a while
    (slide_layer,) = add_layers(viewer, read_slides(pair.he))
    lay_results_over(list(viewer.layers))
    slide_layer.translate = (30, 40)
    np.testing.assert_allclose(results.data_to_world((0, 0)), (30, 40))


def test_results_choose_none_of_two_slides_of_their_name(viewer, pair) -> None:
    slides = add_layers(viewer, read_slides(pair.he) + read_slides(pair.he))
    results = results_of(viewer, slide_of(slides[0]))
    lay_results_over(list(viewer.layers))
    for layer in slides:
        layer.translate = (30, 40)
    np.testing.assert_allclose(results.data_to_world((0, 0)), (0, 0))


def test_a_slide_forgets_a_layer_that_is_gone(viewer, pair) -> None:
    (slide_layer,) = add_layers(viewer, read_slides(pair.he))
    listening = len(slide_layer.events.scale.callbacks)
    layer = a_layer(viewer)
    lay_over(layer, slide_layer)
    assert len(slide_layer.events.scale.callbacks) == listening + 1
    gone = ref(layer)
    viewer.layers.remove(layer)
    del layer
    gc.collect()
    assert gone() is None
    slide_layer.scale = (2, 2)
    assert len(slide_layer.events.scale.callbacks) == listening


def test_a_layer_stays_where_it_is_when_its_slide_is_gone(viewer, pair) -> None:
    (slide_layer,) = add_layers(viewer, read_slides(pair.he))
    layer = a_layer(viewer)
    lay_over(layer, slide_layer)
    slide_layer.translate = (7, 8)
    gone = ref(slide_layer)
    viewer.layers.remove(slide_layer)
    del slide_layer
    gc.collect()
    assert gone() is None
    np.testing.assert_allclose(layer.data_to_world((0, 0)), (7, 8))


@pytest.mark.slow
def test_a_restated_pixel_size_leaves_every_tile_over_its_pixels(
    viewer, qtbot, without_pixel_size: Path
) -> None:
    (slide_layer,) = add_layers(viewer, read_slides(without_pixel_size))
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.region.add()
    widget.mpp.value = 0.92
    assert press_and_wait(widget, qtbot)
    heatmap, centers = widget.run.heatmap_layer, widget.run.grading.plan.grid.centers([(1, 2)])
    above = [layer for layer in viewer.layers if layer is not slide_layer]
    before = [on_slide(layer, slide_layer) for layer in above]
    widget.mpp.value = 0.5
    widget.mpp.require_slide()
    assert tuple(slide_layer.scale) == (0.5, 0.5)
    assert len({str(layer.units) for layer in viewer.layers}) == 1
    for layer, place in zip(above, before, strict=True):
        np.testing.assert_allclose(on_slide(layer, slide_layer), place, atol=1e-6)
    middle = np.asarray(slide_layer.world_to_data(heatmap.data_to_world((1, 2)))) + 0.5
    np.testing.assert_allclose(middle, centers[0], atol=1e-6)
