"""All of it without a mouse."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module, resources
from pathlib import Path

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from npe2 import PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QScrollBar,
    QSlider,
    QWidget,
)
from tests.widgets.conftest import Pair
from tests.widgets.pressing import PATIENCE_MS

from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import sample_data
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui
CONTRIBUTED = PluginManifest.from_distribution("napari-hmkd").contributions
PANELS = [panel.display_name for panel in CONTRIBUTED.widgets]
NOTHING_PRIVATE = pytest.mark.filterwarnings("error:Private attribute access:FutureWarning")
FILE_BUTTONS = ("Select file", "...")
OPERATED = (QAbstractButton, QSlider, QAbstractSpinBox, QComboBox, QLineEdit)


def panel_classes() -> set[str]:
    """Every class of the package that takes napari's viewer, as the manifest names it."""
    package = "napari_hmkd.widgets"
    modules = [
        import_module(f"{package}.{path.name.removesuffix('.py')}")
        for path in resources.files(package).iterdir()
        if path.name.endswith("_widget.py")
    ]
    return {
        f"{one.__module__}:{one.__name__}"
        for module in modules
        for one in vars(module).values()
        if inspect.isclass(one)
        and one.__module__ == module.__name__
        and "napari_viewer" in inspect.signature(one.__init__).parameters
    }


def test_every_panel_is_in_the_menu_and_the_command_palette() -> None:
    python_names = {one.id: one.python_name for one in CONTRIBUTED.commands}
    assert {python_names[panel.command] for panel in CONTRIBUTED.widgets} == panel_classes()


def ancestors(widget: QWidget) -> Iterator[QWidget]:
    while (widget := widget.parentWidget()) is not None:
        yield widget


@NOTHING_PRIVATE
@pytest.mark.parametrize("name", PANELS)
def test_every_field_and_button_of_a_panel_is_reached_by_tab(
    viewer, qtbot, show_window, pair: Pair, name: str
) -> None:
    add_layers(viewer, read_slides(pair.he))
    dock, _ = viewer.window.add_plugin_dock_widget("napari-hmkd", name)
    show_window()
    QApplication.setActiveWindow(viewer.window._qt_window)
    inner: QWidget = dock.widget()
    inner.nextInFocusChain().setFocus()
    reached: list[QWidget] = []
    while inner.isAncestorOf(focused := QApplication.focusWidget()) and focused not in reached:
        reached.append(focused)
        qtbot.keyClick(focused, Qt.Key.Key_Tab)
    operated = [one for one in inner.findChildren(QWidget) if isinstance(one, OPERATED)]
    # The arrow keys in a table move its scroll bars.
    own = [one for one in operated if not isinstance(one, QScrollBar)]
    usable = [one for one in own if one.isVisible() and one.isEnabled()]
    parts = [one for one in usable if any(other in usable for other in ancestors(one))]
    assert len(usable) > 1
    assert set(usable) - set(parts) <= set(reached)


@NOTHING_PRIVATE
@pytest.mark.parametrize("name", PANELS)
def test_a_screen_reader_is_told_what_every_control_of_a_panel_is(
    viewer, show_window, pair: Pair, name: str
) -> None:
    add_layers(viewer, read_slides(pair.he))
    dock, _ = viewer.window.add_plugin_dock_widget("napari-hmkd", name)
    show_window()
    stops = [
        one
        for one in dock.widget().findChildren(QWidget)
        if one.focusPolicy() & Qt.FocusPolicy.TabFocus
        and not isinstance(one, QAbstractButton)
        and not any(isinstance(other, QComboBox) for other in ancestors(one))
    ]
    unnamed = {type(one).__name__ for one in stops if not one.accessibleName()}
    files = [
        one for one in dock.widget().findChildren(QAbstractButton) if one.text() in FILE_BUTTONS
    ]
    names = [one.accessibleName() for one in files]
    assert stops
    assert not unnamed
    assert all(names)
    assert len(names) == len(set(names)), "each says whose file it chooses"


def test_no_name_in_a_menu_has_an_ampersand() -> None:
    """napari's menu of a plugin takes it for an access key's, its palette shows the one of a sample twice."""
    manifest = PluginManifest.from_distribution("napari-hmkd")
    samples = [sample.display_name for sample in CONTRIBUTED.sample_data]
    assert not [name for name in (manifest.display_name, *samples, *PANELS) if "&" in name]


@NOTHING_PRIVATE
def test_from_the_sample_to_its_saved_results(
    viewer, qtbot, monkeypatch, pair: Pair, tmp_path: Path, press_key
) -> None:
    monkeypatch.setattr(sample_data, "sample_slide", lambda _report: pair)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    viewer.open_sample("napari-hmkd", "sample")
    _, panel = viewer.window.add_plugin_dock_widget("napari-hmkd", "Grade HER2")
    press_key("S")
    assert panel.status.value.startswith("There is no finished or stopped grading")
    press_key("G", where=panel.start.native)
    assert panel.run.running, "keys work while a field of the panel has the focus"
    qtbot.waitUntil(lambda: panel.status.value.startswith("Done"), timeout=PATIENCE_MS)
    press_key("S")
    qtbot.waitUntil(lambda: panel.status.value.startswith("Saved"), timeout=PATIENCE_MS)
    assert (tmp_path / pair.he.name / "report.html").is_file()


def test_a_button_is_pressed_by_the_space_bar(widget: GradeWidget, qtbot) -> None:
    qtbot.keyClick(widget.region.mark.native, Qt.Key.Key_Space)
    assert widget.status.value.startswith("Draw round the region")


def test_keys_mark_a_region_and_turn_to_the_next_map(widget: GradeWidget, press_key) -> None:
    press_key("R")
    assert widget.status.value.startswith("Draw round the region")
    press_key("M")
    assert widget.map.mode.value == widget.map.mode.choices[1]


@pytest.mark.parametrize(
    ("letter", "said"),
    [("S", "There is no finished"), ("R", "Draw round"), ("X", "Stopped"), ("F", "Finding")],
)
def test_no_key_of_napari_comes_before_in_the_window_that_is_at_work(
    widget: GradeWidget, viewer, show_window, press_key, monkeypatch, letter: str, said: str
) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: ("", ""))  # napari's
    show_window()
    QApplication.setActiveWindow(viewer.window._qt_window)
    press_key(letter)
    assert widget.status.value.startswith(said)
