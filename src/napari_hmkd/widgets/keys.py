"""Keys of a panel, for the canvas of its window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import WeakMethod, ref

import napari.viewer
from magicgui.widgets import Container

from napari_hmkd.widgets.closing import docked


def bind_keys(
    viewer: napari.viewer.Viewer, panel: Container, actions: Mapping[str, Callable[[], None]]
) -> None:
    """Have Ctrl, Shift and a letter call methods as long as a panel is docked; the latest panel has them.

    Not Ctrl and Alt, which together are the AltGr of Windows, by which many keyboards write other letters;
    and napari has some of these.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    panel : magicgui.widgets.Container
    actions : mapping of str to bound method
        Of the panel or of a part of it, by letter.
    """
    its_panel = ref(panel)
    for letter, action in actions.items():
        its_action = WeakMethod(action)

        def press(_viewer: object, its_action: WeakMethod[Callable[[], None]] = its_action) -> None:
            here, act = its_panel(), its_action()
            if here is not None and act is not None and docked(here.native):
                act()

        viewer.bind_key(f"Control-Shift-{letter}", press, overwrite=True)
