"""A layer in a pane of its own, whatever comes and goes in the other."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from weakref import ref

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari_hmkd.reader import read_slides
from napari_hmkd.widgets.alignment_widget import AlignmentWidget
from napari_hmkd.widgets.attention_widget import AttentionWidget
from napari_hmkd.widgets.side_by_side import SideBySide, grid_of, side_by_side
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui


def panes(viewer) -> list[list[str]]:
    layers = viewer.layers
    return [[layers[i].name for i in held] for _, held in grid_of(viewer).iter_viewboxes(layers)]


@pytest.fixture
def beside(viewer) -> SideBySide:
    for name in ("he", "ihc", "map"):
        viewer.add_image(np.zeros((4, 4)), name=name)
    return SideBySide(viewer)


@pytest.mark.slow
def test_the_second_pane_has_what_was_put_aside_and_the_first_all_else(
    viewer, beside: SideBySide
) -> None:
    beside.begin(viewer.layers["ihc"])
    assert panes(viewer) == [["he", "map"], ["ihc"]]
    viewer.add_image(np.zeros((4, 4)), name="later")
    assert panes(viewer) == [["he", "map", "later"], ["ihc"]]
    beside.add(viewer.add_image(np.zeros((4, 4)), name="outline"))
    assert panes(viewer) == [["he", "map", "later"], ["ihc", "outline"]]
    viewer.layers.remove("map")
    viewer.layers.move(viewer.layers.index("ihc"), 3)
    assert panes(viewer) == [["he", "later"], ["ihc", "outline"]]


@pytest.mark.slow
def test_at_its_end_the_window_is_as_before(viewer, beside: SideBySide) -> None:
    grid = grid_of(viewer)
    grid.stride = 2
    before = grid.enabled, grid.shape, grid.stride
    beside.begin(viewer.layers["ihc"])
    assert (grid.enabled, tuple(grid.shape), grid.stride) == (True, (1, 2), -2)
    beside.end()
    assert (grid.enabled, grid.shape, grid.stride) == before
    viewer.add_image(np.zeros((4, 4)))
    assert grid.stride == 2


@pytest.mark.slow
def test_a_layer_that_is_removed_is_not_kept(viewer, beside: SideBySide, qtbot) -> None:
    layer = viewer.layers["ihc"]
    beside.begin(layer)
    gone = ref(layer)
    viewer.layers.remove(layer)
    del layer

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    qtbot.waitUntil(is_gone)


@pytest.mark.slow
def test_the_panes_end_with_the_slide_that_has_one(viewer, beside: SideBySide) -> None:
    beside.begin(viewer.layers["ihc"])
    viewer.layers.remove("ihc")
    assert not beside.on
    assert not grid_of(viewer).enabled


@pytest.fixture
def panels(
    viewer, paint_slide: Callable[..., Path], tmp_path: Path
) -> tuple[AlignmentWidget, AttentionWidget]:
    """Both in one window with an H&E and two IHC; of either the first is chosen."""
    for name in ("other.tif", "ihc.tif", "he.tif"):
        add_layers(viewer, read_slides(paint_slide(tmp_path / name, [[0, 1]])))
    alignment, attention = AlignmentWidget(viewer), AttentionWidget(viewer)
    for panel in (alignment, attention):
        viewer.window.add_dock_widget(panel)
    alignment.ihc.value = attention.form.ihc.value = viewer.layers["ihc.tif"]
    return alignment, attention


def test_the_boxes_of_both_panels_say_the_same(
    viewer, panels: tuple[AlignmentWidget, AttentionWidget]
) -> None:
    alignment, attention = panels
    alignment.beside.native.click()
    assert attention.beside.value
    assert panes(viewer) == [["other.tif", "he.tif"], ["ihc.tif"]]
    attention.beside.native.click()
    assert not alignment.beside.value
    assert not grid_of(viewer).enabled


@pytest.mark.slow
def test_another_ihc_takes_the_pane_and_is_no_longer_that_of_the_other_panel(
    viewer, panels: tuple[AlignmentWidget, AttentionWidget]
) -> None:
    alignment, attention = panels
    alignment.beside.native.click()
    alignment.ihc.value = viewer.layers["other.tif"]
    assert panes(viewer)[1] == ["other.tif"]
    assert (alignment.beside.value, attention.beside.value) == (True, False)
    attention.beside.native.click()
    assert panes(viewer)[1] == ["ihc.tif"]
    assert (alignment.beside.value, attention.beside.value) == (False, True)
    attention.form.ihc.value = None
    assert not side_by_side(viewer).on
    assert not attention.beside.enabled


def test_the_panes_stay_until_the_last_panel_is_closed(
    viewer, panels: tuple[AlignmentWidget, AttentionWidget]
) -> None:
    panels[0].beside.native.click()
    viewer.window.remove_dock_widget(panels[0].native)
    assert side_by_side(viewer).on
    viewer.window.remove_dock_widget(panels[1].native)
    assert not side_by_side(viewer).on


def test_a_slide_that_has_a_pane_can_be_removed_and_all_hear_of_it(
    viewer, panels: tuple[AlignmentWidget, AttentionWidget]
) -> None:
    panels[0].beside.native.click()
    heard: list[str] = []
    viewer.layers.events.removed.connect(
        lambda event: heard.append(event.value.name), position="last"
    )
    viewer.layers.remove("ihc.tif")
    assert heard == ["ihc.tif"]
    assert [panel.value for panel in (panels[0].ihc, panels[1].form.ihc)] == [None, None]
    assert not side_by_side(viewer).on
    assert not grid_of(viewer).enabled


@pytest.mark.slow
def test_landmarks_of_either_slide_are_set_in_its_pane(
    viewer, panels: tuple[AlignmentWidget, AttentionWidget]
) -> None:
    alignment, _ = panels
    alignment.he.value = viewer.layers["he.tif"]
    alignment.beside.native.click()
    alignment.mark.native.click()
    assert panes(viewer) == [
        ["other.tif", "he.tif", "landmarks (he.tif)"], ["ihc.tif", "landmarks (ihc.tif)"]
    ]  # fmt: skip
    assert all(layer.visible for layer in viewer.layers)
    assert "hidden" not in alignment.status.value
