"""napari's reader of slides in a window: as `napari_hmkd.reader`, and the window is prepared for them.

napari tells a reader not which window asks. It is the active one, where something is dropped or opened
by the menu; slides that a program opens in another window are guarded once a panel is open there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import napari
from napari.layers import Layer
from napari.settings import get_settings
from napari.utils.notifications import show_info, show_warning

from napari_hmkd import reader
from napari_hmkd.layers import LayerData
from napari_hmkd.widgets.overlay import lay_results_over
from napari_hmkd.widgets.result_hiding import result_hiding
from napari_hmkd.widgets.saved_slide import may_be_of
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
            show_info(_ASYNC_HINT)
    return layers


def _guard_new(event: Any) -> None:
    """Watch a layer that was added, if it shows a slide; results may find theirs now."""
    if slide_of(event.value) is not None:
        watch_slide(event.value)
    layers = list(event.source)
    lay_results_over(layers)
    for warning in sorted(set(_namesakes_told(layers, event.value))):
        show_warning(warning)


def _namesakes_told(layers: Sequence[Layer], new: Layer) -> Iterator[str]:
    """What to say of results that are seen over a slide, one of them new, that has but the name of theirs."""
    slides = [slide for layer in layers if (slide := slide_of(layer)) is not None]
    for layer in layers:
        about = layer.metadata.get("napari_hmkd", {})
        of_name = [slide for slide in slides if slide.name == about.get("slide_name")]
        concerned = layer is new or slide_of(new) in of_name
        if concerned and of_name and not any(may_be_of(about, slide) for slide in of_name):
            size, saved = of_name[0].size, about["saved_slide"]
            yield (
                f"The results in {about['folder']} are of another slide of the name {about['slide_name']}: that "
                f"has {saved.height_px} x {saved.width_px} px, and the open one {size.height} x {size.width} px."
            )
