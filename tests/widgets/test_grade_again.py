"""A slide that is graded again shows its new map, and leaves the results of its namesakes alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import napari.layers
import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari.layers._layer_actions import _duplicate_layer as duplicate_layer
from tests.widgets.conftest import EXTENT_PX, Pair
from tests.widgets.pressing import PATIENCE_MS, one_tile_at_a_time, press_and_wait

from napari_hmkd.geometry import Region
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import guarded_reader, namesakes
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.viewing import add_layers, slide_layers, slide_of

pytestmark = [pytest.mark.slow, pytest.mark.gui]


@pytest.fixture
def namesake(viewer, graded: GradeWidget, pair: Pair, tmp_path: Path) -> napari.layers.Image:
    """Another slide of the same file name, open but not chosen."""
    (tmp_path / "other patient").mkdir()
    path = tmp_path / "other patient" / pair.he.name
    shutil.copy(pair.he, path)
    path.write_bytes(path.read_bytes() + b"\0")  # no pixel differs, but the file does
    return add_layers(viewer, read_slides(path))[0]


def save(widget: GradeWidget, out: Path, qtbot) -> None:
    widget.save_results(out)
    qtbot.waitUntil(lambda: not widget.saving.running, timeout=PATIENCE_MS)


@pytest.mark.parametrize("stride", [1.0, 0.5], ids=["as before", "otherwise"])
def test_a_heatmap_that_was_hidden_is_seen_when_its_slide_is_graded_again(
    graded: GradeWidget, qtbot, stride: float
) -> None:
    heatmap = graded.run.heatmap_layer
    heatmap.visible = False
    graded.stride.value = stride
    assert press_and_wait(graded, qtbot)
    assert graded.run.heatmap_layer is heatmap
    assert heatmap.visible


def test_a_duplicate_of_a_heatmap_stays_as_it_is_when_its_slide_is_graded_again(
    viewer, graded: GradeWidget, qtbot
) -> None:
    heatmap = graded.run.heatmap_layer
    viewer.layers.selection = {heatmap}
    duplicate_layer(viewer.layers)
    copy = viewer.layers[f"{heatmap.name} copy"]
    before = copy.data.copy()
    graded.stride.value = 0.5
    assert press_and_wait(graded, qtbot)
    assert graded.run.heatmap_layer is heatmap
    assert heatmap.data.shape != before.shape
    assert copy in viewer.layers
    np.testing.assert_array_equal(copy.data, before)


def test_a_hidden_heatmap_is_seen_when_grading_goes_on_by_the_button_alone(
    widget: GradeWidget, qtbot, monkeypatch, stop_early
) -> None:
    one_tile_at_a_time(monkeypatch)
    stop_early(widget)
    assert not press_and_wait(widget, qtbot)
    heatmap = widget.run.heatmap_layer
    heatmap.visible = False
    stop_early(widget)
    height, width = EXTENT_PX
    widget.run.go_on(((height / 2, width / 2), Region(0, 0, height, width)))
    qtbot.waitUntil(lambda: not widget.run.running, timeout=PATIENCE_MS)
    assert not heatmap.visible, "the view was moved, and no button pressed"
    assert press_and_wait(widget, qtbot)
    assert heatmap.visible


def test_a_heatmap_that_lies_under_its_slide_is_laid_over_it(
    viewer, graded: GradeWidget, qtbot
) -> None:
    order = [layer.name for layer in graded.run.layers]
    viewer.layers.move(viewer.layers.index(graded.slide.value), len(viewer.layers))
    assert press_and_wait(graded, qtbot)
    above = [layer.name for layer in viewer.layers]
    above = above[above.index(graded.slide.value.name) :]
    assert [name for name in above if name in order] == order


def test_saved_results_are_not_taken_for_those_of_a_namesake(
    viewer, graded: GradeWidget, namesake: napari.layers.Image, qtbot, tmp_path: Path
) -> None:
    own = graded.slide.value
    save(graded, tmp_path, qtbot)
    viewer.layers.remove(graded.run.heatmap_layer)
    (saved,) = viewer.open(tmp_path / own.name, plugin="napari-hmkd")
    graded.slide.value = namesake
    assert press_and_wait(graded, qtbot)
    assert graded.run.heatmap_layer is not saved
    assert "result_of" not in saved.metadata["napari_hmkd"]
    graded.slide.value = own
    assert press_and_wait(graded, qtbot)
    assert graded.run.heatmap_layer is saved


def test_each_of_two_namesakes_keeps_its_own_layers(
    graded: GradeWidget, namesake: napari.layers.Image, qtbot
) -> None:
    layers = {}
    for slide_layer in (graded.slide.value, namesake) * 2:
        graded.slide.value = slide_layer
        assert press_and_wait(graded, qtbot)
        path = slide_of(slide_layer).path
        assert graded.run.layers == layers.setdefault(path, list(graded.run.layers))
    first, second = layers.values()
    assert not set(first) & set(second)


def test_saving_does_not_replace_the_results_of_a_namesake(
    graded: GradeWidget, namesake: napari.layers.Image, qtbot, tmp_path: Path
) -> None:
    save(graded, tmp_path, qtbot)
    save(graded, tmp_path, qtbot)
    assert graded.status.value.startswith("Saved"), "its own may be replaced"
    summary = tmp_path / slide_of(namesake).name / "summary.json"
    before = json.loads(summary.read_text(encoding="utf-8"))
    graded.slide.value = namesake
    assert press_and_wait(graded, qtbot)
    save(graded, tmp_path, qtbot)
    assert "another slide of that name" in graded.status.value
    assert json.loads(summary.read_text(encoding="utf-8")) == before
    save(graded, tmp_path / "elsewhere", qtbot)
    assert graded.status.value.startswith("Saved")


@pytest.fixture
def larger(paint_slide: Callable[..., Path], pair: Pair, tmp_path: Path) -> Path:
    """A slide of the same file name and another size."""
    (tmp_path / "larger").mkdir()
    return paint_slide(tmp_path / "larger" / pair.he.name, [[0, 1, 2]] * 3)


@pytest.fixture
def warned(monkeypatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(namesakes, "show_warning", shown.append)
    return shown


@pytest.mark.parametrize("first", ["results", "slide"])
def test_saved_results_over_a_namesake_of_another_size_are_warned_of(
    viewer, graded: GradeWidget, larger: Path, qtbot, warned: list[str], tmp_path: Path, first: str
) -> None:
    save(graded, tmp_path, qtbot)
    viewer.layers.clear()
    folder = tmp_path / larger.name
    for path in (folder, larger) if first == "results" else (larger, folder):
        read = guarded_reader.get_reader(path) or guarded_reader.read_slides
        add_layers(viewer, read(path))
    (slide_layer,) = slide_layers(viewer)
    (results,) = (layer for layer in viewer.layers if layer is not slide_layer)
    slide_layer.translate = (30, 40)
    np.testing.assert_array_equal(results.affine.affine_matrix, np.eye(3))
    assert [str(folder) in one for one in warned] == [True]


def test_saved_results_lie_over_their_slide_and_not_over_a_namesake_of_another_size(
    viewer, graded: GradeWidget, larger: Path, qtbot, warned: list[str], tmp_path: Path
) -> None:
    own = graded.slide.value
    save(graded, tmp_path, qtbot)
    viewer.layers.remove(graded.run.heatmap_layer)
    add_layers(viewer, guarded_reader.read_slides(larger))
    (results,) = viewer.open(tmp_path / larger.name, plugin="napari-hmkd")
    own.translate = (30, 40)
    np.testing.assert_allclose(results.affine.affine_matrix[:2, 2], (30, 40))
    assert warned == []


@pytest.fixture
def compared(monkeypatch, qtbot) -> Callable[[], None]:
    """Wait until all that had to be read of slides to tell namesakes is read."""
    begun: list[namesakes._Comparison] = []
    plain = namesakes._Comparison.__init__

    def begin(self, *arguments) -> None:
        begun.append(self)
        plain(self, *arguments)

    monkeypatch.setattr(namesakes._Comparison, "__init__", begin)

    def wait() -> None:
        assert begun
        qtbot.waitUntil(lambda: not any(one.running for one in begun), timeout=PATIENCE_MS)

    return wait


@pytest.mark.parametrize("own_is_open", [False, True])
@pytest.mark.parametrize("first", ["results", "slide"])
def test_saved_results_over_a_namesake_of_their_size_are_warned_of_unless_their_slide_is_open(
    viewer, graded, namesake, qtbot, warned, compared, tmp_path: Path, first: str, own_is_open: bool
) -> None:
    own, other = slide_of(graded.slide.value).path, slide_of(namesake).path
    slides = [own, other] if own_is_open else [other]
    save(graded, tmp_path, qtbot)
    viewer.layers.clear()
    folder = tmp_path / other.name
    for path in (folder, *slides) if first == "results" else (*slides, folder):
        add_layers(viewer, guarded_reader.get_reader(path)(path))
    compared()
    told = [str(folder) in one and "fingerprint" in one for one in warned]
    assert told == ([] if own_is_open else [True])
