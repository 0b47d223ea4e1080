"""Tiles of a slide inspected one after another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.errors import SlideReadError
from napari_hmkd.grading import OpenModel
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.slide import InspectedTile, StainPair, TileRow, inspect_slide, row_of
from napari_hmkd.inspection.tile import inspect_tile
from napari_hmkd.planning import read_tile, tile_grid
from napari_hmkd.slide import open_slide

TILES = [(0, 0), (0, 1), (1, 0), (1, 1)]


def read_ihc(tile: tuple[int, int]) -> np.ndarray:
    if tile == (1, 0):
        raise SlideReadError("the IHC is damaged there")
    return np.random.default_rng(tile).integers(0, 256, (256, 256, 3), dtype=np.uint8)


@pytest.fixture
def slide_file(tmp_path: Path, paint_slide: Callable[..., Path]) -> Path:
    return paint_slide(tmp_path / "he.tif", [[0, 1], [2, 3]], damaged=[(0, 1)])


def test_each_tile_is_that_of_both_stains_or_says_what_failed(
    slide_file: Path, student: OpenModel, teacher: OpenModel
) -> None:
    with open_slide(slide_file) as he:
        pair = StainPair(he, tile_grid(he, student.card), read_ihc)
        found = list(inspect_slide(pair, student, teacher, TILES))
        pixels = read_tile(he, pair.grid, (1, 1))
    first, he_damaged, ihc_damaged, last = found
    assert isinstance(he_damaged, FailedTile)
    assert isinstance(ihc_damaged, FailedTile)
    assert (he_damaged.row, he_damaged.column) == (0, 1)
    assert ihc_damaged.message == "the IHC is damaged there"
    assert isinstance(first, InspectedTile)
    assert isinstance(last, InspectedTile)
    expected = inspect_tile(student, pixels, teacher, read_ihc((1, 1)))
    assert last.inspection.losses == pytest.approx(expected.losses, rel=1e-5)
    row = row_of(last, pair.grid)
    assert (row.row, row.column, row.y_px, row.x_px) == (1, 1, 256.0, 256.0)
    assert row.attention_loss == pytest.approx(expected.losses["attention"], rel=1e-5)
    of_student, of_teacher = (p @ np.arange(4) for p in expected.probabilities)
    assert row.disagreement == pytest.approx(abs(of_student - of_teacher), abs=1e-5)
    assert row.agreement_2 == pytest.approx(expected.agreement(2), abs=1e-5)


def test_without_ihc_what_needs_the_teacher_is_none(
    slide_file: Path, student: OpenModel, teacher: OpenModel
) -> None:
    with open_slide(slide_file) as he:
        pair = StainPair(he, tile_grid(he, student.card))
        (one,) = inspect_slide(pair, student, teacher, TILES[:1])
    assert isinstance(one, InspectedTile)
    row = row_of(one, pair.grid)
    known = {name for name in TileRow.names() if getattr(row, name) is not None}
    assert known == {"row", "column", "y_px", "x_px", "student_grade", "student_expected"}
