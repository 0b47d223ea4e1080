"""Predict biomarkers begins with what is in view and follows it, which changes no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.biomarkers import OpenPanel
from tests.widgets.pressing import press_and_wait

from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.widgets.biomarker_run import BiomarkerRun
from napari_hmkd.widgets.biomarker_widget import BiomarkerWidget
from napari_hmkd.widgets.viewing import camera, slide_of, visible_region

pytestmark = [pytest.mark.slow, pytest.mark.gui]
GRADES = [[0, 1, 2, 3, 1, 0]] * 8
BATCH = 3  # tiles, half a row
TILE_PX = 256


def look_at(viewer, panel: BiomarkerWidget, row: int, column: int) -> None:
    mpp = slide_of(panel.form.slide.value).mpp
    camera(viewer).center = tuple((TILE_PX * np.array([row, column]) + TILE_PX / 2) * mpp)


@pytest.fixture
def zoomed_in(
    viewer,
    open_biomarkers: OpenPanel,
    small_batches: list[SlideBiomarkers],
    show_window: Callable[[], None],
    qtbot,
    paint_slide: Callable[..., Path],
    tmp_path: Path,
) -> BiomarkerWidget:
    """The window shows the fifth tile of the seventh row, and little more."""
    panel = open_biomarkers(paint_slide(tmp_path / "large.tif", GRADES))
    show_window()
    camera(viewer).zoom = 0.5
    look_at(viewer, panel, 6, 4)
    qtbot.waitUntil(lambda: visible_region(viewer, panel.form.slide.value)[1].height < 4 * TILE_PX)
    qtbot.wait(300)
    return panel


def nearest(viewer, panel: BiomarkerWidget) -> list[int]:
    plan = panel.run.result.extraction.plan
    view = visible_region(viewer, panel.form.slide.value)
    return plan.grid.nearest_first(plan.tiles, *view)[0].tolist()


def test_what_is_in_view_is_encoded_first_and_what_comes_into_view_next(
    viewer, zoomed_in: BiomarkerWidget, qtbot, monkeypatch
) -> None:
    looked, order = Event(), []
    plain_look, plain_run = BiomarkerRun.look, SlideBiomarkers.run

    def look(*given) -> None:
        plain_look(*given)
        looked.set()

    def run(biomarkers: SlideBiomarkers, queue):
        for batch in plain_run(biomarkers, queue):
            order.append(batch.tiles.tolist())
            yield batch
            assert looked.wait(30), "nobody told of the view"

    monkeypatch.setattr(BiomarkerRun, "look", look)
    monkeypatch.setattr(SlideBiomarkers, "run", run)
    panel = zoomed_in
    panel.run.progressed.connect(
        lambda tried, *_: look_at(viewer, panel, 1, 1) if tried == BATCH else None
    )
    assert press_and_wait(panel, qtbot)
    assert [6, 4] in order[0]
    assert nearest(viewer, panel) == [1, 1]
    read_before = BATCH + 2 + panel.form.slide.chosen.reader.threads.count  # when the view moved
    found = next(number for number, batch in enumerate(order) if [1, 1] in batch)
    assert found <= 2 + -(-read_before // BATCH) < len(order) - 2
    assert sorted(order) == [
        panel.run.result.extraction.plan.tiles[first : first + BATCH].tolist()
        for first in range(0, 48, BATCH)
    ]


def test_the_results_are_those_of_a_run_that_nobody_looked_at(
    viewer, zoomed_in: BiomarkerWidget, qtbot, monkeypatch, tmp_path: Path
) -> None:
    panel = zoomed_in
    panel.run.progressed.connect(lambda tried, *_: look_at(viewer, panel, tried % 8, tried % 6))
    assert press_and_wait(panel, qtbot)
    followed = panel.run.result
    monkeypatch.setattr("napari_hmkd.widgets.biomarker_run.default_folder", lambda: tmp_path / "k")
    monkeypatch.setattr(
        SlideBiomarkers, "run", lambda self, _queue, plain=SlideBiomarkers.run: plain(self)
    )
    assert press_and_wait(panel, qtbot)
    alone = panel.run.result
    assert alone.extraction.resumed_tiles == followed.extraction.resumed_tiles == 0
    np.testing.assert_array_equal(
        followed.extraction.bag().features, alone.extraction.bag().features
    )
    for one, other in zip(followed.predictions, alone.predictions, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
        np.testing.assert_array_equal(one.attention, other.attention)
