"""What grading has to know of a slide, found out before it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread

import napari.layers
from psygnal import Signal
from qtpy.QtWidgets import QWidget

from napari_hmkd.device import choose_device
from napari_hmkd.grading import make_ready, open_model
from napari_hmkd.planning import GradeSettings
from napari_hmkd.slide import Slide
from napari_hmkd.slide.contents.examined import examined
from napari_hmkd.widgets.closing import docked
from napari_hmkd.widgets.pause import Pause
from napari_hmkd.widgets.slide_choice import SlideChoice
from napari_hmkd.widgets.tissue_run import TissueRun

_LOG = logging.getLogger(__name__)
_REST_MS = 100  # the window draws the slide first, and may still turn to another
_made_ready: set[tuple[str, str]] = set()
"""Models and devices of this session."""


class LookAhead:
    """Has the chosen slide examined once the choice has come to rest, one slide at a time.

    Left alone is a slide while it is hidden (as the sample's IHC is) or without a pixel size, and one with a
    tissue layer, by which it is judged. Nothing is said of a failure: the run that needs the slide meets it,
    too.

    Parameters
    ----------
    panel : QWidget
        While it is in no dock, nobody is about to grade.
    choice : SlideChoice
    tissue : TissueRun
        Knows the slides' tissue layers.

    Signals
    -------
    began()
        A slide is being examined.
    """

    began = Signal()

    def __init__(self, panel: QWidget, choice: SlideChoice, tissue: TissueRun) -> None:
        self._panel, self._choice, self._tissue = panel, choice, tissue
        self._thread: Thread | None = None
        self._rest = Pause(_REST_MS, self._begin)
        self._layer: napari.layers.Image | None = None
        choice.changed.connect(self._on_chosen)
        self._on_chosen(choice.value)

    @property
    def under_way(self) -> bool:
        """Whether a slide is examined, or will be in a moment."""
        return self._rest.running or (self._thread is not None and self._thread.is_alive())

    def look(self, _value: object = None) -> None:
        """Examine the chosen slide in a moment."""
        self._rest.start()

    def close(self) -> None:
        """Begin nothing more. What the thread is at, it finishes unheard, or ends with Python."""
        self._choice.changed.disconnect(self._on_chosen)
        self._watch(None)
        self._rest.stop()

    def _on_chosen(self, layer: napari.layers.Image | None) -> None:
        self._watch(layer)
        self.look()

    def _watch(self, layer: napari.layers.Image | None) -> None:
        """Look again once a layer that was hidden is shown, at no other any more."""
        if self._layer is not None:
            self._layer.events.visible.disconnect(self.look)
        self._layer = layer
        if layer is not None:
            layer.events.visible.connect(self.look)

    def _begin(self) -> None:
        if self.under_way:
            self.look()
        elif (slide := self._wanted()) is not None:
            self._thread = _in_silence("look-ahead", lambda: examined(slide))
            self.began.emit()

    def _wanted(self) -> Slide | None:
        slide = self._choice.chosen
        if slide is None or slide.mpp is None or not docked(self._panel):
            return None
        seen, judged = self._choice.value.visible, self._tissue.layer_of(slide) is not None
        return slide if seen and not judged else None


def make_ready_ahead(model: str, device: str) -> None:
    """Begin to make a GPU ready for a model, once a session; a CPU is.

    Parameters
    ----------
    model : str
        As `open_model` takes it.
    device : str
        As `choose_device` takes it.
    """
    if (model, device) in _made_ready:
        return
    _made_ready.add((model, device))

    def prepare() -> None:  # to choose may load the GPU's driver
        if choose_device(device).type == "cuda":
            make_ready(open_model(model), GradeSettings(device=device))

    _in_silence("gpu-ahead", prepare)


def _in_silence(name: str, work: Callable[[], object]) -> Thread:
    def run() -> None:
        try:
            work()
        except Exception as error:  # whatever it is, it is said when the slide is to be graded
            _LOG.debug("%s: %s", name, error)

    thread = Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
