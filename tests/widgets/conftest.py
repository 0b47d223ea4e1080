"""A small sample pair, opened in a real napari window."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import pytest

from napari_hmkd.sample import ProceduralTissue, write_slide

if TYPE_CHECKING:
    from napari_hmkd.biomarkers.slide import SlideBiomarkers
    from napari_hmkd.widgets.alignment_widget import AlignmentWidget
    from napari_hmkd.widgets.attention_widget import AttentionWidget
    from napari_hmkd.widgets.biomarker_widget import BiomarkerWidget
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


@pytest.fixture(scope="session")
def cheap_windows() -> Iterator[None]:
    """Spare each of some hundred windows what no test is about.

    napari would look for the plugins of all packages anew, write its settings at each change, tell each
    shortcut to the welcome screen, and read a method's signature whenever one is connected or not.
    """
    from napari.settings import NapariSettings
    from napari.utils.action_manager import ActionManager
    from napari.utils.events.event import EventEmitter
    from npe2 import PluginManifest

    plugins = list(PluginManifest.discover())
    takes_event = getattr(
        EventEmitter, "_check_signature", None
    )  # not public: another napari may lack it
    known: WeakKeyDictionary[Callable[..., object], bool] = WeakKeyDictionary()

    def takes_event_as_before(callback: Callable[..., object]) -> bool:
        function = getattr(callback, "__func__", None)
        if function is None:
            return takes_event(callback)
        if function not in known:
            known[function] = takes_event(callback)
        return known[function]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", staticmethod(lambda *_, **__: iter(plugins)))
        patch.setattr(NapariSettings, "save", lambda *_, **__: None)
        patch.setattr(ActionManager, "_emit_shortcut_change", lambda *_: None, raising=False)
        if takes_event is not None:
            patch.setattr(EventEmitter, "_check_signature", staticmethod(takes_event_as_before))
        yield
        gc.unfreeze()


@pytest.fixture
def viewer(request: pytest.FixtureRequest):
    """A napari viewer; skipped where there is no napari or no screen."""
    pytest.importorskip("napari", reason="needs the napari extra")
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        pytest.skip("needs a display with OpenGL: run `make test`, or under xvfb-run")
    request.getfixturevalue("cheap_windows")
    # When it closes, napari goes through all objects for leaks: through those of this test alone.
    gc.collect()
    gc.freeze()
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
def without_pixel_size(paint_slide: Callable[..., Path], tmp_path: Path) -> Path:
    """A painted slide whose file does not say how large a pixel is."""
    import tifffile

    painted = tifffile.imread(paint_slide(tmp_path / "with.tif", [[0, 1, 2, 3, 1]] * 4))
    path = tmp_path / "ohne Maßstab.tif"
    tifffile.imwrite(path, painted, photometric="rgb", tile=(256, 256), compression="zlib")
    return path


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
def graded(widget: GradeWidget, qtbot) -> GradeWidget:
    """The panel once its slide is graded."""
    from tests.widgets.pressing import press_and_wait

    assert press_and_wait(widget, qtbot)
    return widget


@pytest.fixture
def open_inspector(
    viewer,
    show_window: Callable[[], None],
    paint_slide: Callable[..., Path],
    student_file: Path,
    teacher_file: Path,
    tmp_path: Path,
) -> Callable[..., AttentionWidget]:
    """Dock Show attention in a window with a painted pair of 2 x 3 tiles, and give it random networks."""
    from napari_hmkd.reader import read_slides
    from napari_hmkd.widgets.attention_widget import AttentionWidget
    from napari_hmkd.widgets.viewing import add_layers

    def open_panel(
        he_damaged: tuple[tuple[int, int], ...] = (),
        ihc_damaged: tuple[tuple[int, int], ...] = (),
        with_ihc: bool = True,
    ) -> AttentionWidget:
        he = paint_slide(tmp_path / "he.tif", [[0, 1, 2], [3, 0, 1]], he_damaged)
        ihc = paint_slide(tmp_path / "ihc.tif", [[3, 2, 1], [0, 3, 2]], ihc_damaged)
        add_layers(viewer, read_slides(ihc) + read_slides(he))
        panel = AttentionWidget(viewer)
        viewer.window.add_dock_widget(panel, name="Show attention")
        panel.form.student.value, panel.form.teacher.value = student_file, teacher_file
        if with_ihc:
            panel.form.ihc.value = viewer.layers["ihc.tif"]
        show_window()
        return panel

    return open_panel


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which network was run, each time that one is."""
    from napari_hmkd.inspection import tile as inspection_of_tile

    plain, seen = inspection_of_tile._run, []

    def run(model, *stains):
        seen.append(model.card.role)
        return plain(model, *stains)

    monkeypatch.setattr(inspection_of_tile, "_run", run)
    return seen


@pytest.fixture
def undoubted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare Show attention its doubts of a painted IHC, which take half as long as its six tiles."""
    monkeypatch.setattr("napari_hmkd.widgets.attention_run.doubts_of_ihc", lambda *_: [])


@pytest.fixture
def open_biomarkers(
    viewer,
    paint_slide: Callable[..., Path],
    biomarkers_file: Path,
    student_file: Path,
    tmp_path: Path,
) -> Callable[..., BiomarkerWidget]:
    """Dock Predict biomarkers in a window with a painted slide of 3 x 4 tiles, two of them glass."""
    from napari_hmkd.reader import read_slides
    from napari_hmkd.widgets.biomarker_widget import BiomarkerWidget
    from napari_hmkd.widgets.viewing import add_layers

    def open_panel(
        path: Path | None = None, damaged: tuple[tuple[int, int], ...] = ()
    ) -> BiomarkerWidget:
        grades = [[0, 1, 2, -1], [3, 0, 1, 2], [-1, 1, 3, 0]]
        path = path or paint_slide(tmp_path / "gewebe ä.tif", grades, damaged)
        add_layers(viewer, read_slides(path))
        panel = BiomarkerWidget(viewer)
        viewer.window.add_dock_widget(panel, name="Predict biomarkers")
        panel.form.model.value, panel.form.encoder.value = biomarkers_file, student_file
        panel.form.device.value = "cpu"
        return panel

    return open_panel


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> list[SlideBiomarkers]:
    """Bags are made in batches of three tiles, so that there is something to stop; what was started."""
    from napari_hmkd.widgets import biomarker_run

    started: list[SlideBiomarkers] = []
    plain = biomarker_run.start_biomarkers

    def start(slide, model, encoder, settings, *more) -> SlideBiomarkers:
        started.append(plain(slide, model, encoder, replace(settings, batch_size=3), *more))
        return started[-1]

    monkeypatch.setattr(biomarker_run, "start_biomarkers", start)
    return started


@pytest.fixture
def press_key(viewer, qtbot) -> Callable[..., None]:
    """Press Ctrl, Shift and a letter, in the canvas or where it is said."""
    from qtpy.QtCore import Qt

    def press(letter: str, where: object = None) -> None:
        both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        target = viewer.window._qt_viewer.canvas.native if where is None else where
        qtbot.keyClick(target, getattr(Qt.Key, f"Key_{letter}"), both)
        qtbot.keyRelease(target, Qt.Key.Key_Shift)  # else Qt takes both for held in later tests

    return press


@pytest.fixture
def stop_early(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the next run of a widget stopped, by its button if by nothing else, after its first batch."""
    from napari_hmkd.grading import SlideGrading

    plain, pressed = SlideGrading.run, Event()
    pressed.set()

    def run(self: SlideGrading, *place):
        for batch in plain(self, *place):
            yield batch
            assert pressed.wait(30), "nobody pressed Stop"

    def arm(widget: GradeWidget, stop: Callable[[], None] | None = None) -> None:
        pressed.clear()
        end = widget.stop.native.click if stop is None else stop

        def press(tried: int, planned: int, speed: float) -> None:
            if tried:
                widget.run.progressed.disconnect(press)
                end()
                pressed.set()

        widget.run.progressed.connect(press)

    monkeypatch.setattr(SlideGrading, "run", run)
    return arm


@pytest.fixture
def aligner(viewer, paint_slide: Callable[..., Path], tmp_path: Path) -> AlignmentWidget:
    """Align IHC, docked in a window with two painted slides that are chosen in it."""
    from tests.widgets.aligning import dock

    from napari_hmkd.reader import read_slides
    from napari_hmkd.widgets.viewing import add_layers

    he = paint_slide(tmp_path / "he.tif", [[0, 1, 2], [3, 0, 1]])
    ihc = paint_slide(tmp_path / "ihc.tif", [[3, 2, 1, 2], [0, 3, 2, 1]])
    add_layers(viewer, read_slides(ihc) + read_slides(he))
    return dock(viewer)


@pytest.fixture
def finds_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The automatic search gives the known alignment, whatever the slides."""
    from tests.widgets.aligning import TRUTH

    from napari_hmkd.alignment import Alignment, Method, align_by_matrix
    from napari_hmkd.widgets import alignment_run

    def find(he, ihc) -> Alignment:
        return align_by_matrix(he, ihc, TRUTH, Method.AUTOMATIC, residual_um=3.2, score=2.5)

    monkeypatch.setattr(alignment_run, "align_automatically", find)
