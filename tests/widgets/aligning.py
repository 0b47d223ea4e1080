"""What tests of Align IHC share: a known alignment, landmarks by it, and how far a window is from it."""

from __future__ import annotations

import numpy as np

from napari_hmkd.widgets.alignment_widget import AlignmentWidget
from napari_hmkd.widgets.viewing import slide_of

TURN = np.deg2rad(7)
TRUTH = np.array(  # um on the H&E to um on the IHC
    [[np.cos(TURN), -np.sin(TURN), 310.0], [np.sin(TURN), np.cos(TURN), -85.0], [0, 0, 1]]
)
PLACES_UM = np.array([(300.0, 400.0), (1500.0, 700.0), (900.0, 2300.0), (1800.0, 2500.0)])
CLOSE_UM = 0.01


def on_ihc(places_um: np.ndarray) -> np.ndarray:
    return places_um @ TRUTH[:2, :2].T + TRUTH[:2, 2]


def dock(viewer) -> AlignmentWidget:
    panel = AlignmentWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Align IHC")
    panel.he.value, panel.ihc.value = viewer.layers["he.tif"], viewer.layers["ihc.tif"]
    return panel


def finish(panel: AlignmentWidget, qtbot) -> None:
    """Wait until what a panel is at has ended."""
    qtbot.waitUntil(lambda: not panel.run.running, timeout=20_000)


def world_of(layer, places_um: np.ndarray) -> np.ndarray:
    """Where a slide's layer shows places of its slide: napari puts 0 at a pixel's middle."""
    mpp = slide_of(layer).mpp
    return np.array([layer.data_to_world(place) for place in places_um / mpp - 0.5])


def apart_um(panel: AlignmentWidget) -> float:
    """How far places of the H&E are from their partners on the IHC, in the window."""
    he, ihc = panel.he.value, panel.ihc.value
    off = world_of(he, PLACES_UM) - world_of(ihc, on_ihc(PLACES_UM))
    return float(np.abs(off).max())


def set_landmarks(panel: AlignmentWidget, he_um: np.ndarray, ihc_um: np.ndarray) -> None:
    """Add points as clicks do, by their world positions."""
    panel.mark.native.click()
    for slide_layer, places_um in ((panel.he.value, he_um), (panel.ihc.value, ihc_um)):
        layer = panel.landmarks.layer_of(slide_layer)
        for world in world_of(slide_layer, places_um):
            layer.add(layer.world_to_data(world))
