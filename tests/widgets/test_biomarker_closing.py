"""Whatever is closed in the middle of a prediction, no thread and no open file is left."""

from __future__ import annotations

import gc
from weakref import ref

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.biomarkers import TILES, OpenPanel, stop_after_first_batch
from tests.widgets.pressing import PATIENCE_MS, press_and_wait

from napari_hmkd.widgets.biomarker_widget import BiomarkerWidget

pytestmark = pytest.mark.gui


def closed(reader: ref) -> bool:
    gc.collect()
    return reader() is None


def end_by(what: str, viewer, panel: BiomarkerWidget, monkeypatch) -> None:
    """Start, and remove or close something after the first batch."""
    ends = {
        "layer": lambda: viewer.layers.remove(panel.form.slide.value),
        "panel": lambda: panel.native.parent().title.close_button.click(),
        "window": viewer.close,
    }
    stop_after_first_batch(panel, monkeypatch, ends[what])
    panel.start.native.click()


@pytest.mark.parametrize("what", ["layer", "panel", "window"])
def test_what_is_under_way_ends(
    viewer,
    open_biomarkers: OpenPanel,
    qtbot,
    monkeypatch,
    small_batches,
    what: str,
) -> None:
    panel = open_biomarkers()
    end_by(what, viewer, panel, monkeypatch)
    worker = panel.run._worker
    qtbot.waitUntil(lambda: bool(small_batches) and not worker.is_running, timeout=PATIENCE_MS)
    assert 0 < len(small_batches[0].extraction.encoded_tiles()) < TILES
    assert not panel.results.shown


@pytest.mark.parametrize("panel_first", [False, True])
def test_the_slides_file_closes_with_its_layer_in_the_middle(
    viewer,
    open_biomarkers: OpenPanel,
    qtbot,
    monkeypatch,
    small_batches,
    panel_first: bool,
) -> None:
    panel = open_biomarkers()
    reader = ref(panel.form.slide.chosen.reader)
    end_by("panel" if panel_first else "layer", viewer, panel, monkeypatch)
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)
    viewer.layers.clear()
    small_batches.clear()
    qtbot.waitUntil(lambda: closed(reader), timeout=PATIENCE_MS)


def test_a_result_goes_with_its_slides_layer_whose_file_closes(
    viewer,
    open_biomarkers: OpenPanel,
    qtbot,
    small_batches,
) -> None:
    panel = open_biomarkers()
    assert press_and_wait(panel, qtbot)
    assert panel.save.enabled
    reader = ref(panel.form.slide.chosen.reader)
    small_batches.clear()
    viewer.layers.remove(panel.form.slide.value)
    assert not panel.save.enabled
    assert [layer.name for layer in viewer.layers if "attention" in layer.name] == []
    assert panel.results.gallery.count() == 0
    qtbot.waitUntil(lambda: closed(reader), timeout=PATIENCE_MS)
