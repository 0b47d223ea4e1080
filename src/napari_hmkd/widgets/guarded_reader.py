"""napari's reader of slides in a window: as `napari_hmkd.reader`, and the window is prepared for them.

napari tells a reader not which window asks. It is the active one, where something is dropped or opened
by the menu; slides that a program opens in another window are guarded once a panel is open there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import napari
from napari.settings import get_settings
from napari.utils.notifications import show_info
from qtpy import PYSIDE6

from napari_hmkd import reader
from napari_hmkd.layers import LayerData
from napari_hmkd.widgets.async_offer import WITH_PYSIDE6
from napari_hmkd.widgets.namesakes import tell_of_namesakes
from napari_hmkd.widgets.overlay import lay_results_over
from napari_hmkd.widgets.result_hiding import result_hiding
from napari_hmkd.widgets.slide_watch import watch_slide
from napari_hmkd.widgets.viewing import slide_of

_ASYNC_HINT = (
    "The window waits for each tile of a slide. To load them in the background, switch on Preferences > "
    "Experimental > Render Images Asynchronously, or use the button in the panel Slide information."
)


def get_reader(path: reader.Paths) -> reader.Reader | None:
    """The npe2 reader contribution; it takes what `napari_hmkd.reader.get_reader` takes."""
    found = reader.get_reader(path)
    return None if found is None else partial(_guarded, found)


def read_slides(path: reader.Paths) -> list[LayerData]:
    """As `napari_hmkd.reader.read_slides`; the active window's slides are guarded from now on."""
    return _guarded(reader.read_slides, path)


def _guarded(read: reader.Reader, path: reader.Paths) -> list[LayerData]:
    layers = read(path)
    viewer = napari.current_viewer()
    if viewer is not None:
        result_hiding(viewer)
    if viewer is not None and _guard_new not in viewer.layers.events.inserted.callbacks:
        viewer.layers.events.inserted.connect(_guard_new)
        if not get_settings().experimental.async_:
            show_info(f"{_ASYNC_HINT} But {WITH_PYSIDE6}." if PYSIDE6 else _ASYNC_HINT)
    return layers


def _guard_new(event: Any) -> None:
    """Watch a layer that was added, if it shows a slide; results may find theirs now."""
    if slide_of(event.value) is not None:
        watch_slide(event.value)
    layers = list(event.source)
    lay_results_over(layers)
    tell_of_namesakes(layers, event.value)
