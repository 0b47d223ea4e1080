"""A guard against locking a level of a slide that is far too large to be drawn whole.

napari draws of a multiscale layer what is on screen, but the whole of a level that is locked. Its event
of the lock comes after that has been read, so the guard stands before the reading.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import napari.layers
from napari.utils.notifications import show_warning

LIMIT_SIDE_PX = 16_384
"""Longest side; few graphics cards take a larger texture."""

LIMIT_PX = 256_000_000
"""Largest area: three quarters of a gigabyte of colours."""


def guard_level_lock(layer: napari.layers.Image) -> None:
    """Undo, with a warning, any locking of a level of `layer` beyond the limits.

    Guarding a layer twice is no fault.
    """
    if "refresh" in vars(layer) or not hasattr(layer, "locked_data_level"):
        return
    plain = type(layer).refresh
    # No cycle: the slide closes with its layer's last reference.
    seen = ref(layer)

    def refresh(*args: Any, **kwargs: Any) -> None:
        guarded = seen()
        if guarded is not None and not _undo_lock(guarded):
            plain(guarded, *args, **kwargs)

    layer.refresh = refresh
    _undo_lock(layer)


def too_large(height: int, width: int) -> bool:
    """Whether a level of so many px is beyond what is drawn whole."""
    return max(height, width) > LIMIT_SIDE_PX or height * width > LIMIT_PX


def _undo_lock(layer: napari.layers.Image) -> bool:
    """Unlock a level that is too large; whether there was one."""
    level = layer.locked_data_level
    if level is None:
        return False
    height, width = (int(side) for side in layer.level_shapes[level][:2])
    if not too_large(height, width):
        return False
    layer.locked_data_level = None
    show_warning(
        f"Level {level} of '{layer.name}' has {height} x {width} px, and napari would read a locked "
        f"level whole: it was unlocked. Up to {LIMIT_SIDE_PX} px a side and {LIMIT_PX // 10**6} "
        "Mpx can be locked; zoom in to see this one."
    )
    return True
