"""What is removed from the window takes its own grading with it, and no other's."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from threading import Event
from weakref import ref

import napari.layers
import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.pressing import PATIENCE_MS, press_and_wait

from napari_hmkd.errors import UnsuitableSlideError
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import grade_run
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.grade_words import NEVER_BEGAN
from napari_hmkd.widgets.viewing import add_layers, slide_of

pytestmark = [pytest.mark.slow, pytest.mark.gui]


@pytest.fixture
def second(viewer, pair, tmp_path: Path) -> napari.layers.Image:
    """Another slide, open but not chosen."""
    copied = shutil.copy(pair.he, tmp_path / "second <ä>.ome.tif")
    return add_layers(viewer, read_slides(Path(copied)))[0]


@pytest.fixture
def opened(monkeypatch) -> Event:
    """Set, it lets the next grading go on to its plan."""
    plain, opened = grade_run.start_grading, Event()

    def start(*what):
        assert opened.wait(30)
        return plain(*what)

    monkeypatch.setattr(grade_run, "start_grading", start)
    return opened


def kinds(viewer) -> list[str]:
    return sorted(layer.name.split(" (")[0] for layer in viewer.layers)


@pytest.mark.parametrize("which", ["slide", "heatmap"])
def test_a_slide_that_is_being_opened_is_graded_though_the_former_is_removed(
    viewer, graded: GradeWidget, second, opened: Event, qtbot, which: str
) -> None:
    first, heatmap = graded.slide.value, graded.run.heatmap_layer
    graded.slide.value = second
    graded.start.native.click()
    viewer.layers.remove(first if which == "slide" else heatmap)
    opened.set()
    qtbot.waitUntil(lambda: not graded.run.running, timeout=PATIENCE_MS)
    grading = graded.run.grading
    assert grading.plan.slide is slide_of(second)
    assert len(grading.heatmap.remaining) == 0
    assert graded.status.value.startswith("Done")


@pytest.mark.parametrize("ended_by", ["removal", "Stop"])
def test_a_run_that_ends_before_its_plan_does_not_say_the_former_runs_numbers(
    viewer, graded: GradeWidget, second, opened: Event, qtbot, ended_by: str
) -> None:
    grading, complete = graded.run.grading, []
    graded.run.ended.connect(complete.append)
    graded.slide.value = second
    graded.start.native.click()
    if ended_by == "Stop":
        graded.stop.native.click()
    else:
        viewer.layers.remove(second)
    opened.set()
    qtbot.waitUntil(lambda: not graded.run.running, timeout=PATIENCE_MS)
    assert graded.status.value == NEVER_BEGAN
    assert complete == [False]
    assert graded.run.grading is grading


@pytest.mark.parametrize("ended_by", ["removal", "Stop"])
def test_nobody_is_asked_about_a_slide_whose_run_was_to_end(
    viewer, widget: GradeWidget, second, qtbot, monkeypatch, ended_by: str
) -> None:
    ended = Event()

    def start(*_: object) -> None:
        assert ended.wait(30)
        raise UnsuitableSlideError("looks like IHC")

    monkeypatch.setattr(grade_run, "start_grading", start)
    widget.slide.value = second
    widget.start.native.click()
    if ended_by == "Stop":
        widget.stop.native.click()
    else:
        viewer.layers.remove(second)
    ended.set()
    qtbot.waitUntil(lambda: not widget.run.running, timeout=PATIENCE_MS)
    assert widget.question.native.isHidden(), "a yes would count for the slide that is chosen now"
    assert widget.status.value == NEVER_BEGAN


def test_a_heatmap_that_is_removed_leaves_nothing_of_its_grading(
    viewer, graded: GradeWidget, qtbot
) -> None:
    assert "undecided" in kinds(viewer)
    viewer.layers.remove(graded.run.heatmap_layer)
    qtbot.waitUntil(lambda: kinds(viewer) == ["he.ome.tif", "tissue"])
    assert not graded.save.enabled
    assert graded.map.legend.value == ""
    assert graded.map.legend.native.isHidden()
    assert graded.progress.value == 0
    assert not graded.status.value.startswith("Done")


def test_all_that_is_selected_can_be_removed_at_once(viewer, graded: GradeWidget, qtbot) -> None:
    viewer.layers.selection = set(viewer.layers)
    viewer.layers.remove_selected()
    qtbot.wait(1)
    assert len(viewer.layers) == 0


@pytest.mark.parametrize("first", ["slide", "heatmap"])
def test_the_slides_file_closes_with_slide_and_heatmap(
    viewer, graded: GradeWidget, qtbot, first: str
) -> None:
    reader = ref(graded.slide.chosen.reader)
    own = [graded.slide.value, graded.run.heatmap_layer]
    for layer in own if first == "slide" else own[::-1]:
        viewer.layers.remove(layer)
    own.clear()
    del layer

    def closed() -> bool:
        gc.collect()
        return reader() is None

    qtbot.waitUntil(closed, timeout=PATIENCE_MS)


@pytest.fixture(params=["another panel", "a folder"])
def graded_before(request, viewer, graded: GradeWidget, qtbot, tmp_path: Path) -> GradeWidget:
    """A new panel in a window that shows the slide's grading already."""
    if request.param == "a folder":
        graded.save_results(tmp_path)
        qtbot.waitUntil(lambda: graded.status.value.startswith("Saved"), timeout=PATIENCE_MS)
        viewer.layers.remove(graded.run.heatmap_layer)
        viewer.open(tmp_path / "he.ome.tif", plugin="napari-hmkd")
    graded.native.parent().title.close_button.click()
    return viewer.window.add_plugin_dock_widget("napari-hmkd", "Grade HER2")[1]


def test_a_slide_has_one_heatmap_and_keeps_its_other_results(
    viewer, graded_before: GradeWidget, qtbot
) -> None:
    assert "HER2 grade" in kinds(viewer)
    of_slide = {"napari_hmkd": {"result_of": graded_before.slide.chosen.path}}
    viewer.add_image(np.zeros((2, 2)), name="attention", metadata=of_slide)
    assert press_and_wait(graded_before, qtbot)
    expected = ["HER2 grade", "attention", "he.ome.tif", "tissue", "undecided"]
    assert kinds(viewer) == expected
    assert graded_before.run.heatmap_layer in viewer.layers


def test_another_grading_of_the_slide_refills_its_layers(
    viewer, graded: GradeWidget, qtbot
) -> None:
    before, names = list(graded.run.layers), kinds(viewer)
    before[0].opacity = 0.125
    graded.stride.value = 0.5
    assert press_and_wait(graded, qtbot)
    assert graded.run.layers == before
    assert kinds(viewer) == names

    grading, slide_layer = graded.run.grading, graded.slide.value
    heatmap = before[0]
    assert heatmap.opacity == 0.125
    np.testing.assert_array_equal(heatmap.data, grading.heatmap.expected_grade)
    tile = tuple(np.argwhere(grading.heatmap.graded)[-1].tolist())
    world = heatmap.data_to_world(tile)
    assert heatmap.get_status(world, world=True)["value"] == grading.heatmap.describe(tile)
    step_px = np.array(grading.plan.grid.step_px)
    for layer in before:
        cells = np.array(layer.data.shape) / heatmap.data.shape
        corner = layer.data_to_world(np.multiply(tile, cells) - 0.5)
        on_slide = np.add(slide_layer.world_to_data(corner), 0.5)
        np.testing.assert_allclose(on_slide, np.multiply(tile, step_px), atol=1e-6)
