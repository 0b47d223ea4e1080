from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari.settings import get_settings
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_hmkd.geometry import Region
from napari_hmkd.reader import read_slides
from napari_hmkd.slide import Slide
from napari_hmkd.slide.description import describe
from napari_hmkd.widgets import async_offer, slide_info_widget
from napari_hmkd.widgets.async_offer import AsyncOffer
from napari_hmkd.widgets.slide_info_widget import SlideInfoWidget
from napari_hmkd.widgets.viewing import add_layers, slide_of, state_pixel_size

pytestmark = pytest.mark.gui


@pytest.fixture
def panel(viewer, pair, qtbot) -> SlideInfoWidget:
    add_layers(viewer, read_slides(pair.ihc) + read_slides(pair.he))
    panel = SlideInfoWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Slide information", area="right")
    # The fixture closes the window once more at the end of a test.
    viewer.window._qt_window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    viewer.window.show()
    qtbot.waitUntil(panel.isVisible)
    return panel


def shown(panel: SlideInfoWidget) -> dict[str, str]:
    rows = range(panel.table.rowCount())
    return {panel.table.item(row, 0).text(): panel.table.item(row, 1).text() for row in rows}


@pytest.mark.slow
def test_the_facts_of_the_chosen_slide_are_shown(viewer, panel: SlideInfoWidget, pair) -> None:
    ihc, he = viewer.layers
    assert panel.slide.value is he
    assert shown(panel) == describe(slide_of(he))
    assert any(pair.he.name in text for text in shown(panel).values())
    panel.slide.value = ihc
    assert shown(panel) == describe(slide_of(ihc))
    assert any(pair.ihc.name in text for text in shown(panel).values())
    assert len(viewer.layers) == 2, "no label or macro image is shown"


@pytest.mark.slow
@pytest.mark.parametrize("width", [250, 600])
def test_every_fact_is_reached_by_scrolling_the_panel_alone(
    viewer, panel: SlideInfoWidget, qtbot, width: int
) -> None:
    panel.setFixedWidth(width)
    panel.setMaximumHeight(150)
    bars = panel.table.verticalScrollBar(), panel.table.horizontalScrollBar()
    qtbot.waitUntil(lambda: [bar.maximum() for bar in bars] == [0, 0])

    def all_rows() -> int:
        return sum(panel.table.rowHeight(row) for row in range(panel.table.rowCount()))

    qtbot.waitUntil(lambda: panel.table.viewport().height() == all_rows())
    viewer.layers.clear()
    qtbot.waitUntil(lambda: panel.table.viewport().height() == all_rows(), timeout=2000)


def test_copy_takes_every_fact_in_words(viewer, panel: SlideInfoWidget) -> None:
    panel.copy_button.click()
    lines = QApplication.clipboard().text().splitlines()
    assert lines == [f"{k}: {v}" for k, v in describe(slide_of(panel.slide.value)).items()]
    assert len(lines) > 5


def test_figures_follow_while_the_panel_is_seen_and_a_selection_stays(
    viewer, panel: SlideInfoWidget, qtbot, monkeypatch
) -> None:
    panel.table.selectRow(0)
    facts = shown(panel)
    asked: list[Slide] = []
    monkeypatch.setattr(slide_info_widget, "describe", lambda slide: asked.append(slide) or {})
    slide = panel.slide.chosen
    slide.read_level(0, Region(0, 0, 1000, 1000), keep=True)
    panel._timer.setInterval(20)
    qtbot.waitUntil(lambda: shown(panel)["cache"] == str(slide.reader.cache.statistics))
    assert shown(panel) == {**facts, "cache": shown(panel)["cache"]}
    assert facts["cache"] != shown(panel)["cache"]
    assert {index.row() for index in panel.table.selectedIndexes()} == {0}
    panel.hide()
    assert not panel._timer.isActive()
    assert asked == [], "the file is not asked again"


def test_a_pixel_size_that_is_stated_is_shown(viewer, panel: SlideInfoWidget) -> None:
    state_pixel_size(viewer, panel.slide.value, 0.33)
    panel.refresh()
    assert "0.33 x 0.33 um/px" in shown(panel)["pixel size"]


def test_without_a_slide_it_says_what_to_do(viewer, panel: SlideInfoWidget) -> None:
    viewer.layers.clear()
    assert "drop its file" in " ".join(shown(panel).values())
    assert not panel.copy_button.isEnabled()


@pytest.mark.slow
def test_async_slicing_is_offered_while_it_is_off(
    viewer, panel: SlideInfoWidget, qtbot, monkeypatch
) -> None:
    settings = get_settings().experimental
    monkeypatch.setattr(settings, "async_", False)
    offers = [panel.load_async, AsyncOffer()]
    viewer.window.add_dock_widget(offers[1].native, name="another")
    qtbot.waitUntil(lambda: all(offer.visible for offer in offers))
    offers[0].native.click()
    assert settings.async_
    assert not any(offer.visible for offer in offers)
    settings.async_ = False
    assert all(offer.visible for offer in offers)


@pytest.mark.parametrize("binding", ["PyQt6", "PySide6"])
def test_the_offer_says_whether_it_is_advised(qapp, monkeypatch, binding: str) -> None:
    monkeypatch.setattr(async_offer, "PYSIDE6", binding == "PySide6")
    text = AsyncOffer().text
    assert ("recommended" in text, "can hang" in text) == (binding == "PyQt6", binding == "PySide6")
