"""A small sample pair, opened in a real napari window."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest

from napari_hmkd.sample import ProceduralTissue, write_slide

if TYPE_CHECKING:
    from napari_hmkd.widgets.grade_widget import GradeWidget

MPP = 0.92
EXTENT_PX = (1400, 1900)  # 3 x 4 tiles of 512 px


@dataclass(frozen=True)
class Pair:
    he: Path
    ihc: Path


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("slides")
    tissue = ProceduralTissue(59, (EXTENT_PX[0] * MPP, EXTENT_PX[1] * MPP))
    pair = Pair(folder / "he.ome.tif", folder / "ihc.ome.tif")
    write_slide(pair.he, tissue, "he", MPP)
    write_slide(pair.ihc, tissue, "ihc", MPP)
    return pair


@pytest.fixture
def viewer(request: pytest.FixtureRequest):
    """A napari viewer; skipped where there is no napari or no screen."""
    pytest.importorskip("napari", reason="needs the napari extra")
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        pytest.skip("needs a display with OpenGL: run `make test`, or under xvfb-run")
    viewer = request.getfixturevalue("make_napari_viewer")()
    yield viewer
    # A layer that is still read in the background keeps the window, which napari calls a leak.
    viewer._layer_slicer.wait_until_idle(timeout=30)
    request.getfixturevalue("qtbot").wait(1)


@pytest.fixture
def show_window(viewer, qtbot) -> Callable[[], None]:
    """Bring the window on screen: napari tells what is in view only of a canvas that it draws."""
    from qtpy.QtCore import Qt

    def show() -> None:
        window = viewer.window._qt_window
        # The fixture of the viewer closes the window once more at the end of a test.
        window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        viewer.window.show()
        qtbot.waitUntil(window.isVisible)

    return show


@pytest.fixture
def widget(viewer, pair: Pair) -> GradeWidget:
    """Grade HER2, docked in a window with the H&E slide."""
    from napari_hmkd.reader import read_slides
    from napari_hmkd.widgets.grade_widget import GradeWidget
    from napari_hmkd.widgets.viewing import add_layers

    add_layers(viewer, read_slides(pair.he))
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Grade HER2")
    return widget


@pytest.fixture
def stop_early(monkeypatch: pytest.MonkeyPatch) -> Callable[[GradeWidget], None]:
    """Have the next run of a widget stopped by its button; the run waits for that after a batch."""
    from napari_hmkd.grading import SlideGrading

    plain, pressed = SlideGrading.run, Event()
    pressed.set()

    def run(self: SlideGrading, *place):
        for batch in plain(self, *place):
            yield batch
            assert pressed.wait(30), "nobody pressed Stop"

    def arm(widget: GradeWidget) -> None:
        pressed.clear()

        def press(tried: int, planned: int, speed: float) -> None:
            if tried:
                widget.run.progressed.disconnect(press)
                widget.stop.native.click()
                pressed.set()

        widget.run.progressed.connect(press)

    monkeypatch.setattr(SlideGrading, "run", run)
    return arm
