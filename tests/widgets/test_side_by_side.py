"""A layer in a pane of its own, whatever comes and goes in the other."""

from __future__ import annotations

import gc
from weakref import ref

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari_hmkd.widgets.side_by_side import SideBySide, grid_of

pytestmark = pytest.mark.gui


def panes(viewer) -> list[list[str]]:
    layers = viewer.layers
    return [[layers[i].name for i in held] for _, held in grid_of(viewer).iter_viewboxes(layers)]


@pytest.fixture
def beside(viewer) -> SideBySide:
    for name in ("he", "ihc", "map"):
        viewer.add_image(np.zeros((4, 4)), name=name)
    return SideBySide(viewer)


def test_the_second_pane_has_what_was_put_aside_and_the_first_all_else(
    viewer, beside: SideBySide
) -> None:
    beside.show(viewer.layers["ihc"])
    assert panes(viewer) == [["he", "map"], ["ihc"]]
    viewer.add_image(np.zeros((4, 4)), name="later")
    assert panes(viewer) == [["he", "map", "later"], ["ihc"]]
    beside.show(viewer.add_image(np.zeros((4, 4)), name="outline"))
    assert panes(viewer) == [["he", "map", "later"], ["ihc", "outline"]]
    viewer.layers.remove("map")
    viewer.layers.move(viewer.layers.index("ihc"), 3)
    assert panes(viewer) == [["he", "later"], ["ihc", "outline"]]


def test_at_its_end_the_window_is_as_before(viewer, beside: SideBySide) -> None:
    grid = grid_of(viewer)
    grid.stride = 2
    before = grid.enabled, grid.shape, grid.stride
    beside.show(viewer.layers["ihc"])
    assert (grid.enabled, tuple(grid.shape), grid.stride) == (True, (1, 2), -2)
    beside.end()
    assert (grid.enabled, grid.shape, grid.stride) == before
    viewer.add_image(np.zeros((4, 4)))
    assert grid.stride == 2


def test_a_layer_that_is_removed_is_not_kept(viewer, beside: SideBySide, qtbot) -> None:
    layer = viewer.layers["ihc"]
    beside.show(layer)
    gone = ref(layer)
    viewer.layers.remove(layer)
    del layer

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    qtbot.waitUntil(is_gone)
