"""A slide that is dropped on the window or opened by its menu is guarded without any panel."""

from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari.layers import Image
from napari.settings import get_settings
from napari.utils.notifications import notification_manager

from napari_hmkd.errors import SlideReadError
from napari_hmkd.widgets import guarded_reader, level_guard
from napari_hmkd.widgets.guarded_reader import get_reader
from napari_hmkd.widgets.viewing import add_layers, slide_of

pytestmark = pytest.mark.gui
FINE = 0


@pytest.fixture
def hints(monkeypatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(guarded_reader, "show_info", shown.append)
    return shown


def test_the_plugin_s_reader_is_this_one() -> None:
    npe2 = pytest.importorskip("npe2")
    commands = npe2.PluginManifest.from_distribution("napari-hmkd").contributions.commands
    (reader,) = [one for one in commands if one.id == "napari-hmkd.read_slide"]
    assert reader.python_name == f"{get_reader.__module__}:{get_reader.__name__}"


@pytest.mark.skipif(not hasattr(Image, "locked_data_level"), reason="this napari locks no level")
def test_a_slide_is_guarded_without_a_panel(viewer, pair, hints, monkeypatch) -> None:
    monkeypatch.setattr(level_guard, "LIMIT_SIDE_PX", 1000)
    (layer,) = add_layers(viewer, get_reader(str(pair.he))(str(pair.he)))
    layer.locked_data_level = FINE
    assert layer.locked_data_level is None
    other = viewer.add_image(layer.data, multiscale=True, rgb=True)
    assert "refresh" not in vars(other), "layers of others are left alone"


def test_the_first_damaged_part_is_told(viewer, pair, hints, qtbot) -> None:
    shown: list[str] = []

    def keep(event) -> None:
        shown.append(event.message)

    (layer,) = add_layers(viewer, get_reader(str(pair.he))(str(pair.he)))
    slide = slide_of(layer)

    def damaged(level, region):
        raise SlideReadError(f"row {region.y} is damaged.")

    slide.reader.backend.read = damaged
    notification_manager.notification_ready.connect(keep)
    for row in (0, 600):
        layer.data[0][row : row + 9, :9].compute()
    notification_manager.notification_ready.disconnect(keep)
    assert shown == [
        "row 0 is damaged. It is drawn as a magenta check; Slide information lists further such parts."
    ]


@pytest.mark.parametrize(("background", "count"), [(False, 1), (True, 0)])
def test_background_loading_is_hinted_at_once_a_window(
    viewer, pair, hints, monkeypatch, background: bool, count: int
) -> None:
    monkeypatch.setattr(get_settings().experimental, "async_", background)
    for path in (pair.he, pair.ihc):
        get_reader(str(path))(str(path))
    assert len(hints) == count


def test_what_the_core_leaves_is_left(tmp_path) -> None:
    (tmp_path / "a.tif").write_bytes(b"no slide")
    assert get_reader(str(tmp_path / "a.tif")) is None


def test_slides_are_read_where_there_is_no_window(pair, hints, monkeypatch) -> None:
    monkeypatch.setattr(guarded_reader.napari, "current_viewer", lambda: None)
    ((levels, _, kind),) = get_reader(str(pair.he))(str(pair.he))
    assert (kind, len(levels[0].shape)) == ("image", 3)
    assert hints == []
