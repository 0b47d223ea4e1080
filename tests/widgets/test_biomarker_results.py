"""What Predict biomarkers lays over the slide, and the pictures that lead there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtCore import Qt
from tests.widgets.biomarkers import OpenPanel
from tests.widgets.pressing import press_and_wait

from napari_hmkd.planning import read_tile
from napari_hmkd.widgets import biomarker_widget
from napari_hmkd.widgets.biomarker_widget import BiomarkerWidget
from napari_hmkd.widgets.blinding import HIDDEN, blinding
from napari_hmkd.widgets.saving import SAVING, STILL_SAVING
from napari_hmkd.widgets.viewing import camera

pytestmark = [pytest.mark.slow, pytest.mark.gui]


@pytest.fixture
def panel(open_biomarkers: OpenPanel, qtbot, show_window: Callable[[], None]) -> BiomarkerWidget:
    """After a prediction."""
    panel = open_biomarkers()
    show_window()
    assert press_and_wait(panel, qtbot)
    return panel


@pytest.fixture
def hide_results(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blinding, "_scored", {})
    yield lambda: blinding.switch(True)
    blinding.switch(False)


def attention_layers(viewer) -> list:
    return [layer for layer in viewer.layers if layer.name.startswith("attention for")]


def places(gallery) -> list[tuple[int, int]]:
    role = Qt.ItemDataRole.UserRole
    return [gallery.item(number).data(role) for number in range(gallery.count())]


def test_attention_lies_over_the_slide_and_follows_it(viewer, panel: BiomarkerWidget) -> None:
    slide_layer = panel.form.slide.value
    (layer,) = attention_layers(viewer)
    grid = panel.run.result.extraction.plan.grid
    for moved in ({}, {"translate": (300, -70)}, {"rotate": 30, "scale": (2.0, 2.0)}):
        for name, value in moved.items():
            setattr(slide_layer, name, value)
        for tile in [(0, 0), (2, 1)]:
            on_slide = np.asarray(slide_layer.world_to_data(layer.data_to_world(tile))) + 0.5
            np.testing.assert_allclose(on_slide, grid.centers(tile)[0], atol=1e-6)


def test_another_target_is_shown_in_the_same_layer_and_the_same_colours(
    viewer, panel: BiomarkerWidget
) -> None:
    (layer,) = attention_layers(viewer)
    her2, growth = panel.run.result.predictions
    look = layer.contrast_limits, layer.colormap.name
    np.testing.assert_array_equal(layer.data, panel.run.result.attention_map(her2))
    assert np.nanmean(layer.data) == pytest.approx(1, rel=1e-5), "1 is an even share"
    assert np.isnan(layer.data[0, 3]), "there is glass"
    layer.opacity = 0.3
    panel.results.target.value = "growth"
    assert attention_layers(viewer) == [layer]
    assert layer.name == "attention for growth"
    np.testing.assert_array_equal(layer.data, panel.run.result.attention_map(growth))
    assert (layer.contrast_limits, layer.colormap.name) == look
    assert layer.opacity == 0.3


def test_the_status_bar_tells_a_tiles_attention_and_nothing_off_the_tiles(
    viewer, panel: BiomarkerWidget
) -> None:
    (layer,) = attention_layers(viewer)
    for target in ("HER2", "growth"):
        panel.results.target.value = target
        found = {}
        for tile in [(0, 0), (0, 3), (-1, 0)]:  # tissue, glass, beside the slide
            status = layer.get_status(layer.data_to_world(tile), world=True)
            assert status["coordinates"] == f"{status['coords']}: {status['value']}"
            found[tile] = status["value"]
        assert float(found.pop((0, 0))) == pytest.approx(layer.data[0, 0], rel=0.01)
        assert set(found.values()) == {""}


def test_the_gallery_shows_the_patches_with_most_attention_first(panel: BiomarkerWidget) -> None:
    result = panel.run.result
    for prediction in result.predictions:
        target = prediction.target.name
        panel.results.target.value = target
        attention = result.attention_map(prediction)
        shown = places(panel.results.gallery)
        assert len(shown) == np.isfinite(attention).sum()
        values = [attention[tile] for tile in shown]
        assert values == sorted(values, reverse=True)
        assert panel.results.gallery.item(0).text() == f"{values[0]:.2f} x"
        plan = result.extraction.plan
        np.testing.assert_array_equal(
            panel.run.patches[target].pictures[0], read_tile(plan.slide, plan.grid, shown[0])
        )


@pytest.mark.parametrize("by", ["click", "Enter"])
def test_a_picture_leads_to_its_place(viewer, panel: BiomarkerWidget, qtbot, by: str) -> None:
    gallery = panel.results.gallery
    item = gallery.item(2)
    if by == "click":
        middle = gallery.visualItemRect(item).center()
        qtbot.mouseClick(gallery.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    else:
        gallery.setCurrentItem(item)
        qtbot.keyClick(gallery, Qt.Key.Key_Return)
    slide_layer, grid = panel.form.slide.value, panel.run.result.extraction.plan.grid
    on_slide = np.asarray(slide_layer.world_to_data(camera(viewer).center[-2:])) + 0.5
    np.testing.assert_allclose(on_slide, grid.centers(places(gallery)[2])[0], atol=1e-3)
    outline = viewer.layers["tile"]
    corner = slide_layer.world_to_data(outline.data_to_world(outline.data[0][0])[-2:])
    np.testing.assert_allclose(np.add(corner, 0.5), grid.origins(places(gallery)[2])[0], atol=1e-3)


def test_results_are_hidden_until_the_reader_has_scored_the_slide(
    viewer, panel: BiomarkerWidget, hide_results: Callable[[], None]
) -> None:
    numbers = panel.results.numbers.toPlainText()
    assert "HER2 positive" in numbers
    hide_results()
    assert attention_layers(viewer) == []
    assert panel.results.numbers.toPlainText() == HIDDEN
    assert panel.results.gallery.count() == 0
    assert not panel.save.enabled
    blinding.reveal(panel.form.slide.chosen.path)
    assert len(attention_layers(viewer)) == 1
    assert panel.results.numbers.toPlainText() == numbers
    assert panel.results.gallery.count() > 0
    assert panel.save.enabled


def test_what_is_predicted_while_results_are_hidden_shows_once_it_may(
    viewer, open_biomarkers: OpenPanel, qtbot, hide_results: Callable[[], None]
) -> None:
    panel = open_biomarkers()
    hide_results()
    assert press_and_wait(panel, qtbot)
    qtbot.waitUntil(lambda: attention_layers(viewer) == [])
    assert panel.results.numbers.toPlainText() == HIDDEN
    blinding.reveal(panel.form.slide.chosen.path)
    assert len(attention_layers(viewer)) == 1
    assert "HER2 positive" in panel.results.numbers.toPlainText()


def test_saving_is_said_while_it_lasts(
    panel: BiomarkerWidget, qtbot, monkeypatch, tmp_path: Path
) -> None:
    written = Event()
    monkeypatch.setattr(biomarker_widget, "write_biomarkers", lambda *_: written.wait(30))
    panel.save_results(tmp_path)
    assert panel.status.value == SAVING
    panel.save_results(tmp_path)
    assert panel.status.value == STILL_SAVING
    written.set()
    qtbot.waitUntil(lambda: panel.status.value.startswith("Saved to"))
