"""Fixtures of the benchmarks."""

from __future__ import annotations

import os
import sys

import pytest


@pytest.fixture(autouse=True)
def _of_this_machine(all_devices: None) -> None:
    """A benchmark measures the machine as it is, with its GPU."""


@pytest.fixture(scope="session")
def screen() -> None:
    """Skips where there is no napari, or nothing to show it on."""
    pytest.importorskip("napari", reason="needs the napari extra")
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        pytest.skip("needs a display with OpenGL: run `make test`, or under xvfb-run")


@pytest.fixture
def viewer(screen: None, request: pytest.FixtureRequest):
    """A napari viewer in a window of a usual size, on screen."""
    from qtpy.QtCore import Qt

    viewer = request.getfixturevalue("make_napari_viewer")(show=True)
    viewer.window._qt_window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    viewer.window.resize(1400, 900)
    return viewer
