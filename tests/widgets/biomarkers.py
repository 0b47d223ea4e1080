"""What tests of Predict biomarkers share."""

from __future__ import annotations

from collections.abc import Callable

from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.queueing import TileQueue
from napari_hmkd.widgets.biomarker_widget import BiomarkerWidget

TILES = 10  # with tissue
OpenPanel = Callable[..., BiomarkerWidget]


def stop_after_first_batch(panel: BiomarkerWidget, monkeypatch, stop: Callable[[], None]) -> None:
    """The worker is held until it was stopped, so that it cannot be faster."""
    plain = SlideBiomarkers.run

    def run(self: SlideBiomarkers, queue: TileQueue):
        for batch in plain(self, queue):
            yield batch
            panel.run._stop.wait(30)

    def press(tried: int, _planned: int, _speed: float) -> None:
        if tried:
            panel.run.progressed.disconnect(press)
            monkeypatch.setattr(SlideBiomarkers, "run", plain)
            stop()

    monkeypatch.setattr(SlideBiomarkers, "run", run)
    panel.run.progressed.connect(press)
