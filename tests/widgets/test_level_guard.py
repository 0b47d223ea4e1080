"""Locking a level of a slide that is too large to be drawn whole."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari.layers import Image
from napari.settings import get_settings
from napari.utils.notifications import notification_manager

from napari_hmkd.widgets import level_guard
from napari_hmkd.widgets.level_guard import guard_level_lock, too_large
from napari_hmkd.widgets.slide_choice import SlideChoice

pytestmark = [
    pytest.mark.gui,
    pytest.mark.skipif(
        not hasattr(Image, "locked_data_level"), reason="this napari locks no level"
    ),
]
HUGE, FINE = 0, 1
SHAPES = [(20_480, 512), (5120, 128), (1280, 32)]


@pytest.fixture(params=["tiles in the background", "tiles at once"])
def slicing(request, viewer, monkeypatch) -> None:
    monkeypatch.setattr(get_settings().experimental, "async_", "background" in request.param)


@pytest.fixture
def warnings() -> list[str]:
    shown: list[str] = []

    def keep(event) -> None:
        shown.append(str(getattr(event, "message", event)))

    notification_manager.notification_ready.connect(keep)
    yield shown
    notification_manager.notification_ready.disconnect(keep)


@pytest.fixture
def read_px() -> list[int]:
    """Pixels read of level `HUGE`."""
    return [0]


@pytest.fixture
def layer(viewer, slicing, read_px):
    def block(block_info=None) -> np.ndarray:
        shape = tuple(stop - start for start, stop in block_info[None]["array-location"])
        if block_info[None]["shape"][0] == SHAPES[HUGE][0]:
            read_px[0] += shape[0] * shape[1]
        return np.full(shape, 200, np.uint8)

    levels = [
        da.map_blocks(
            block,
            chunks=da.core.normalize_chunks((512, 512, 3), (*shape, 3)),
            dtype=np.uint8,
            meta=np.empty((0, 0, 0), np.uint8),
            token=uuid4().hex,  # no blocks of another test from the cache of dask
        )
        for shape in SHAPES
    ]
    slide = {"napari_hmkd": {"slide": SimpleNamespace(path="drawn", reader=SimpleNamespace())}}
    layer = viewer.add_image(levels, multiscale=True, rgb=True, metadata=slide, name="a slide")
    viewer.reset_view()
    return layer


def settle(viewer, qtbot) -> None:
    qtbot.wait(100)
    viewer._layer_slicer.wait_until_idle(timeout=30)
    qtbot.wait(50)


def test_a_huge_level_is_unlocked_before_it_is_read(
    viewer, layer, qtbot, warnings: list[str], read_px: list[int]
) -> None:
    SlideChoice(viewer)
    layer.locked_data_level = HUGE
    settle(viewer, qtbot)
    assert layer.locked_data_level is None
    assert layer.data_level > HUGE
    assert read_px[0] < 2000 * SHAPES[HUGE][1]
    assert len(warnings) == 1
    assert "20480 x 512 px" in warnings[0]
    assert "unlocked" in warnings[0]


def test_without_the_guard_napari_reads_all_of_it(viewer, layer, qtbot, read_px: list[int]) -> None:
    layer.locked_data_level = HUGE
    settle(viewer, qtbot)
    assert read_px[0] >= SHAPES[HUGE][0] * SHAPES[HUGE][1]


def test_other_levels_can_be_locked_and_unlocked(viewer, layer, qtbot, warnings: list[str]) -> None:
    SlideChoice(viewer)
    layer.locked_data_level = FINE
    settle(viewer, qtbot)
    assert layer.locked_data_level == layer.data_level == FINE
    layer.locked_data_level = None
    settle(viewer, qtbot)
    assert layer.locked_data_level is None
    assert warnings == []


def test_a_slide_that_comes_later_is_guarded_and_one_guard_is_enough(
    viewer, layer, qtbot, warnings: list[str]
) -> None:
    viewer.layers.remove(layer)
    SlideChoice(viewer)
    viewer.add_layer(layer)
    guard_level_lock(layer)
    layer.locked_data_level = HUGE
    settle(viewer, qtbot)
    assert layer.locked_data_level is None
    assert len(warnings) == 1


def test_a_lock_from_before_the_guard_is_undone(
    viewer, layer, monkeypatch, warnings: list[str]
) -> None:
    monkeypatch.setattr(level_guard, "LIMIT_PX", 4000)
    layer.locked_data_level = 2
    guard_level_lock(layer)
    assert layer.locked_data_level is None
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("height", "width", "huge"),
    [(16_384, 15_000, False), (16_385, 100, True), (100, 16_385, True), (16_384, 16_384, True)],
)
def test_what_is_too_large(height: int, width: int, huge: bool) -> None:
    assert too_large(height, width) is huge
