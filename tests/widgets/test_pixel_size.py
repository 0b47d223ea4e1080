"""A slide without a pixel size, in two panels that ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtCore import Qt

from napari_hmkd.reader import read_slides
from napari_hmkd.widgets.biomarker_widget import BiomarkerWidget
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.viewing import add_layers, slide_of, state_pixel_size

pytestmark = pytest.mark.gui


def test_the_pixel_size_that_was_stated_last_counts_in_every_panel(
    viewer, qtbot, without_pixel_size: Path
) -> None:
    (layer,) = add_layers(viewer, read_slides(without_pixel_size))
    first, second = GradeWidget(viewer).mpp, BiomarkerWidget(viewer).form.mpp
    for field, stated in ((first, 0.25), (second, 0.3), (first, 0.5)):
        field.value = stated
        qtbot.keyClick(field.native, Qt.Key.Key_Return)
    qtbot.keyClick(second.native, Qt.Key.Key_Return)  # nothing was typed there since
    assert slide_of(layer).mpp == (0.5, 0.5)
    assert second.value == 0.5
    assert second.require_slide().mpp == (0.5, 0.5)


def test_a_pixel_size_with_more_digits_than_the_field_stays(
    viewer, qtbot, without_pixel_size: Path
) -> None:
    (layer,) = add_layers(viewer, read_slides(without_pixel_size))
    state_pixel_size(viewer, layer, 0.2262835)
    qtbot.keyClick(GradeWidget(viewer).mpp.native, Qt.Key.Key_Return)
    assert slide_of(layer).mpp == (0.2262835, 0.2262835)
