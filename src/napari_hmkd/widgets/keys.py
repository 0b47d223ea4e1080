"""Keys of a panel, for the canvas of its window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import WeakMethod

import napari.viewer

from napari_hmkd.widgets.closing import docked


def bind_keys(viewer: napari.viewer.Viewer, actions: Mapping[str, Callable[[], None]]) -> None:
    """Have keys call methods of a panel as long as it is docked; the latest panel has them.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    actions : mapping of str to bound method
        Of a magicgui widget, by key, in napari's words.
    """
    for key, action in actions.items():
        alive = WeakMethod(action)

        def press(_viewer: object, alive: WeakMethod[Callable[[], None]] = alive) -> None:
            method = alive()
            if method is not None and docked(method.__self__.native):  # type: ignore[attr-defined]
                method()

        viewer.bind_key(key, press, overwrite=True)
