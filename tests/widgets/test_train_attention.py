"""The Train panel shows the latest picture of attention beside its curves."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("napari", reason="needs the napari extra")
pytest.importorskip("pytestqt", reason="needs pytest-qt")

from napari_hmkd.widgets.train_attention import AttentionPicture
from napari_hmkd.widgets.train_widget import TrainWidget

pytestmark = pytest.mark.gui
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Läufe 1" / "attention"


@pytest.fixture
def shown(qtbot, folder: Path) -> AttentionPicture:
    picture = AttentionPicture()
    qtbot.addWidget(picture)
    picture.resize(300, 400)
    picture.show()
    picture.show_run(folder)
    return picture


def write(folder: Path, epoch: int, colour: tuple[int, int, int]) -> None:
    """Put a new file in its place, as training does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"epoch_{epoch:03d}.png"
    part = path.with_name(f"{path.name}.1.partial")
    Image.fromarray(np.full((80, 40, 3), colour, np.uint8)).save(part, format="png")
    os.replace(part, path)


def middle(picture: AttentionPicture) -> tuple[int, int, int] | None:
    """The colour in the middle of what is painted; None where no picture is."""
    pixels = picture.pixmap()
    if pixels is None or pixels.isNull():
        return None
    colour = pixels.toImage().pixelColor(pixels.width() // 2, pixels.height() // 2)
    return colour.red(), colour.green(), colour.blue()


def test_the_picture_is_that_of_the_latest_epoch(shown: AttentionPicture, folder: Path) -> None:
    assert middle(shown) is None
    for epoch, colour in ((9, RED), (10, GREEN), (1000, BLUE), (999, RED)):
        write(folder, epoch, colour)
        shown.refresh()
        assert middle(shown) == (BLUE if epoch == 999 else colour)


def test_a_file_that_is_being_written_is_no_picture(shown: AttentionPicture, folder: Path) -> None:
    write(folder, 1, RED)
    (folder / "epoch_002.png.7.partial").write_bytes(b"half of it")
    shown.refresh()
    assert middle(shown) == RED


def test_the_picture_fits_its_place_undistorted(shown: AttentionPicture, folder: Path) -> None:
    write(folder, 1, RED)
    shown.refresh()
    for width, height in ((300, 500), (600, 300)):
        shown.resize(width, height)
        size = shown.pixmap().deviceIndependentSize()
        assert size.width() == pytest.approx(min(width, height / 2), abs=1)
        assert size.height() == pytest.approx(2 * size.width(), abs=1)


def test_another_run_starts_without_a_picture(shown: AttentionPicture, folder: Path) -> None:
    write(folder, 1, RED)
    shown.refresh()
    shown.show_run(folder.with_name("of no run"))
    assert middle(shown) is None


@pytest.mark.parametrize("epochs", [0, 2])
def test_the_panel_has_a_tab_for_it_where_the_run_has_pictures(
    viewer, qtbot, folder: Path, epochs: int
) -> None:
    panel = TrainWidget(viewer, ["true"])
    viewer.window.add_dock_widget(panel, name="Train", area="right")
    panel.form.out.value = folder.parent
    place = panel.tabs.indexOf(panel.attention)
    assert not panel.tabs.isTabVisible(place)
    for epoch in range(1, epochs + 1):
        write(folder, epoch, GREEN)
    folder.parent.mkdir(exist_ok=True)
    (folder.parent / "settings.json").write_text("{}", encoding="utf-8")
    panel.start()
    qtbot.waitUntil(lambda: not panel.process.running, timeout=20_000)
    assert panel.tabs.isTabVisible(place) == (epochs > 0)
    assert panel.tabs.tabText(place - 1) == "Curves"
