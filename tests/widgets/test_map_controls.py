"""The look of the heatmap is the one that was chosen last."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.pressing import press_and_wait

from napari_hmkd.map_modes import MapMode, tile_map
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import preferences
from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui
OPACITY, MODE = 0.2, "probability of 3+"


@pytest.fixture
def remembered(viewer, pair) -> GradeWidget:
    """The panel as it opens another day."""
    preferences.remember("grade", {"opacity": OPACITY, "mode": MODE})
    add_layers(viewer, read_slides(pair.he))
    panel = GradeWidget(viewer)
    viewer.window.add_dock_widget(panel)
    return panel


@pytest.fixture
def blinded() -> Iterator[None]:
    blinding.switch(True)
    yield
    blinding.switch(False)


def test_the_first_heatmap_has_the_remembered_look(viewer, remembered: GradeWidget, qtbot) -> None:
    looks: list[tuple[float, str]] = []
    viewer.layers.events.inserted.connect(
        lambda event: looks.append((event.value.opacity, event.value.name))
    )
    assert press_and_wait(remembered, qtbot)
    assert next(opacity for opacity, name in looks if name.startswith("HER2")) == OPACITY
    assert remembered.run.heatmap_layer.colormap.name.startswith("viridis")


def test_a_heatmap_that_was_hidden_has_it_when_it_is_revealed(
    viewer, remembered: GradeWidget, qtbot, blinded: None
) -> None:
    assert press_and_wait(remembered, qtbot)
    assert not any("HER2" in layer.name for layer in viewer.layers)
    blinding.switch(False)
    layer = remembered.run.heatmap_layer
    assert layer in viewer.layers
    assert (layer.opacity, layer.colormap.name.partition(",")[0]) == (OPACITY, "viridis")


def test_what_is_chosen_while_the_heatmap_is_hidden_counts(
    viewer, remembered: GradeWidget, qtbot, blinded: None
) -> None:
    assert press_and_wait(remembered, qtbot)
    remembered.map.opacity.value = 0.7
    remembered.map.mode.value = "entropy"
    blinding.switch(False)
    layer, heatmap = remembered.run.heatmap_layer, remembered.run.grading.heatmap
    assert layer.opacity == 0.7
    np.testing.assert_array_equal(layer.data, tile_map(heatmap, MapMode.ENTROPY).values)
