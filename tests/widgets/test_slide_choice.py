"""Which of a window's slides a panel is about, before and after its user has chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import napari.layers
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from magicgui.widgets import Container
from qtpy.QtCore import QEvent
from qtpy.QtGui import QHelpEvent, QTextDocument
from qtpy.QtWidgets import QApplication

from napari_hmkd.reader import read_slides
from napari_hmkd.widgets.slide_choice import SlideChoice
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui
Add = Callable[..., napari.layers.Image]


@pytest.fixture
def add(viewer, paint_slide: Callable[..., Path], tmp_path: Path) -> Add:
    """Open a painted slide on top, seen or hidden."""

    def open_slide(name: str, visible: bool = True) -> napari.layers.Image:
        [(levels, look, kind)] = read_slides(paint_slide(tmp_path / name, [[0, 1]]))
        (layer,) = add_layers(viewer, [(levels, look | {"visible": visible}, kind)])
        return layer

    return open_slide


@pytest.fixture(params=["docked", "alone"])
def choice(request: pytest.FixtureRequest, viewer) -> SlideChoice:
    """In a dock, napari has it list its choices anew, too, and before its own turn."""
    choice = SlideChoice(viewer)
    if request.param == "docked":
        viewer.window.add_dock_widget(Container(widgets=[choice]))
    return choice


def test_a_hidden_slide_gives_way_to_the_first_that_is_seen(choice: SlideChoice, add: Add) -> None:
    told: list[napari.layers.Image] = []
    choice.changed.connect(told.append)
    hidden = add("ihc.tif", visible=False)
    seen = add("he.tif")
    add("later.tif")
    assert choice.value is seen
    assert told == [hidden, seen]


def test_where_all_are_hidden_the_first_is_kept(viewer, add: Add) -> None:
    choice = SlideChoice(viewer)
    first = add("ihc.tif", visible=False)
    add("he.tif", visible=False)
    assert choice.value is first


def test_what_the_user_has_chosen_stays_though_it_is_hidden(viewer, add: Add) -> None:
    choice = SlideChoice(viewer)
    add("he.tif")
    chosen = add("ihc.tif", visible=False)
    choice.value = chosen
    seen = add("later.tif")
    assert choice.value is chosen
    viewer.layers["he.tif"].visible = False
    viewer.layers.remove(chosen)
    assert choice.value is seen, "the choice went with its layer"


def test_no_slide_takes_the_place_of_a_hidden_one_that_is_worked_on(viewer, add: Add) -> None:
    choice = SlideChoice(viewer)
    at_work = add("he.tif")
    choice.enabled = at_work.visible = False
    add("later.tif")
    assert choice.value is at_work


def test_a_choice_that_may_be_empty_stays_empty(viewer, add: Add) -> None:
    choice = SlideChoice(viewer, nullable=True)
    add("he.tif")
    assert choice.value is None


def test_a_long_name_makes_no_panel_wider_and_is_its_tooltip(
    viewer, choice: SlideChoice, add: Add, qtbot
) -> None:
    slide = add("he.tif")
    panel = Container(widgets=[choice])
    panel.show()
    before = panel.native.minimumSizeHint().width()
    slide.name = f"{'TCGA-A2-A0T2-01Z-00-DX1.' * 6}<b>.svs"
    qtbot.waitUntil(lambda: choice.current_choice == slide.name)
    assert panel.native.minimumSizeHint().width() == before < 400
    point = choice.native.rect().center()
    event = QHelpEvent(QEvent.Type.ToolTip, point, choice.native.mapToGlobal(point))
    QApplication.sendEvent(choice.native, event)
    text = QTextDocument()
    text.setHtml(choice.native.toolTip())
    assert text.toPlainText() == slide.name
    panel.close()


NEW_NAMES = {
    "another": [("he.tif", "case 12")],
    "that of the other before": [("ihc.tif", "IHC"), ("he.tif", "ihc.tif")],
}


@pytest.mark.parametrize("new_names", NEW_NAMES.values(), ids=NEW_NAMES)
def test_a_slide_that_is_renamed_stays_chosen(
    viewer, choice: SlideChoice, add: Add, new_names: list[tuple[str, str]]
) -> None:
    chosen, _ = add("he.tif"), add("ihc.tif")
    told: list[napari.layers.Image] = []
    choice.value = chosen
    choice.changed.connect(told.append)
    for before, after in new_names:
        viewer.layers[before].name = after
    assert choice.value is chosen
    assert choice.current_choice == chosen.name
    assert told == [], "nothing has changed for a panel"
