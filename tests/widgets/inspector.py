"""What tests of Show attention share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from tests.widgets.pressing import PATIENCE_MS

from napari_hmkd.grading import open_model
from napari_hmkd.inspection.tile import TileInspection, inspect_tile
from napari_hmkd.planning import read_tile, tile_grid
from napari_hmkd.widgets.attention_widget import AttentionWidget
from napari_hmkd.widgets.viewing import slide_of

EVERY_TILE = {(row, column) for row in range(2) for column in range(3)}
Opening = Callable[..., AttentionWidget]
opened = cache(open_model)  # other networks than the panel's, opened once


def press_and_wait(panel: AttentionWidget, qtbot, button: str = "inspect") -> None:
    getattr(panel, button).native.click()
    assert panel.run.running
    qtbot.waitUntil(lambda: not panel.run.running, timeout=PATIENCE_MS)


def expected(
    panel: AttentionWidget, tile: tuple[int, int], with_ihc: bool = True
) -> TileInspection:
    """What the compute part says of a tile of the pair as it was opened."""
    student = opened(panel.form.student.value)
    he = slide_of(panel.form.slide.value)
    grid = tile_grid(he, student.card)
    if not with_ihc:
        return inspect_tile(student, read_tile(he, grid, tile))
    teacher = opened(panel.form.teacher.value, "teacher")
    ihc = slide_of(panel.form.ihc.value)
    return inspect_tile(student, read_tile(he, grid, tile), teacher, read_tile(ihc, grid, tile))


def map_layer(panel: AttentionWidget, viewer):
    return viewer.layers[f"{panel.form.kind.value}, level {panel.form.level.value}"]
