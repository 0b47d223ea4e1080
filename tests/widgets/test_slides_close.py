"""A slide's file is closed with the last of its layers, whatever was done with it."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from weakref import ref

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.pressing import PATIENCE_MS, press_and_wait

from napari_hmkd.reader import read_slides
from napari_hmkd.widgets.attention_widget import AttentionWidget
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui


def remove_slide(viewer, widget: GradeWidget) -> ref:
    slide = ref(widget.slide.chosen.reader)
    viewer.layers.remove(widget.slide.value)
    return slide


def closed(slide: ref) -> bool:
    gc.collect()
    return slide() is None


@pytest.mark.slow
def test_a_slide_graded_before_another_closes_and_its_heatmap_still_tells_its_tiles(
    viewer, widget: GradeWidget, qtbot, pair, tmp_path: Path
) -> None:
    assert press_and_wait(widget, qtbot)
    heatmap, layer = widget.run.grading.heatmap, widget.run.heatmap_layer
    tile = tuple(np.argwhere(heatmap.graded)[0].tolist())
    shutil.copy(pair.he, tmp_path / "second.ome.tif")
    (second,) = add_layers(viewer, read_slides(tmp_path / "second.ome.tif"))
    first, widget.slide.value = widget.slide.value, second
    assert press_and_wait(widget, qtbot)
    widget.slide.value = first
    del first
    slide = remove_slide(viewer, widget)
    qtbot.waitUntil(lambda: closed(slide), timeout=PATIENCE_MS)
    assert layer in viewer.layers
    status = layer.get_status(layer.data_to_world(tile), world=True)
    assert status["value"] == heatmap.describe(tile)


def test_a_slide_that_was_searched_for_tissue_closes(viewer, widget: GradeWidget, qtbot) -> None:
    widget.show_tissue()
    qtbot.waitUntil(lambda: not widget.tissue.running, timeout=PATIENCE_MS)
    slide = remove_slide(viewer, widget)
    qtbot.waitUntil(lambda: closed(slide), timeout=PATIENCE_MS)


def test_a_slide_that_was_looked_into_closes(viewer, widget: GradeWidget, qtbot) -> None:
    attention = AttentionWidget(viewer)
    viewer.window.add_dock_widget(attention)
    attention.inspect_view()
    qtbot.waitUntil(lambda: not attention.run.running, timeout=PATIENCE_MS)
    slide = remove_slide(viewer, widget)
    qtbot.waitUntil(lambda: closed(slide), timeout=PATIENCE_MS)
