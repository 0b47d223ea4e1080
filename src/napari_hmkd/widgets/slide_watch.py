"""What every slide layer of a window has: a guard of its levels, and word of damage."""

from __future__ import annotations

import napari.layers
from napari.utils.notifications import show_warning

from napari_hmkd.widgets.level_guard import guard_level_lock
from napari_hmkd.widgets.viewing import slide_of


def watch_slide(layer: napari.layers.Image) -> None:
    """Guard a slide layer against the locking of a huge level, and tell of its first damaged part.

    Watching a layer twice is no fault.
    """
    guard_level_lock(layer)
    if (slide := slide_of(layer)) is not None:
        slide.reader.on_damage = _tell_of_damage


def _tell_of_damage(message: str) -> None:
    """From any thread: napari brings notifications to its window's own."""
    show_warning(
        f"{message} It is drawn as a magenta check; Slide information lists further such parts."
    )
