"""Tiles of a slide inspected one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from napari_hmkd.alignment import align_by_matrix
from napari_hmkd.errors import SlideStalledError
from napari_hmkd.grading import OpenModel
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.pair import AlignedIhc, StainPair
from napari_hmkd.inspection.slide import InspectedTile, TileRow, inspect_slide, row_of
from napari_hmkd.inspection.tile import inspect_tile
from napari_hmkd.planning import read_tile, tile_grid
from napari_hmkd.slide import open_slide, slide

TILES = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.fixture
def pair(
    tmp_path: Path, paint_slide: Callable[..., Path], student: OpenModel
) -> Iterator[StainPair]:
    """Of the H&E tile (0, 1) is damaged, and of the IHC (1, 0)."""
    files = (
        paint_slide(tmp_path / "he.tif", [[0, 1], [2, 3]], damaged=[(0, 1)]),
        paint_slide(tmp_path / "ihc.tif", [[3, 0], [1, 2]], damaged=[(1, 0)]),
    )
    with open_slide(files[0]) as he, open_slide(files[1]) as ihc:
        registered = align_by_matrix(he, ihc, np.eye(3))
        yield StainPair(he, tile_grid(he, student.card), AlignedIhc(ihc, registered, refine=False))


def test_each_tile_is_that_of_both_stains_or_says_what_failed(
    pair: StainPair, student: OpenModel, teacher: OpenModel
) -> None:
    found = list(inspect_slide(pair, student, teacher, TILES))
    he, ihc = (read_tile(one, pair.grid, (1, 1)) for one in (pair.he, pair.ihc.slide))
    first, he_damaged, ihc_damaged, last = found
    assert isinstance(he_damaged, FailedTile)
    assert isinstance(ihc_damaged, FailedTile)
    assert (he_damaged.row, he_damaged.column) == (0, 1)
    assert "he.tif" in he_damaged.message
    assert "ihc.tif" in ihc_damaged.message
    assert isinstance(first, InspectedTile)
    assert isinstance(last, InspectedTile)
    expected = inspect_tile(student, he, teacher, ihc)
    assert last.inspection.losses == pytest.approx(expected.losses, rel=1e-5)
    row = row_of(last, pair.grid)
    assert (row.row, row.column, row.y_px, row.x_px) == (1, 1, 256.0, 256.0)
    assert row.attention_loss == pytest.approx(expected.losses["attention"], rel=1e-5)
    of_student, of_teacher = (p @ np.arange(4) for p in expected.probabilities)
    assert row.disagreement == pytest.approx(abs(of_student - of_teacher), abs=1e-5)
    assert row.agreement_2 == pytest.approx(expected.agreement(2), abs=1e-5)
    assert (row.moved_y_um, row.moved_x_um) == (0, 0)
    for said, logits in zip((row.student_logits, row.teacher_logits), expected.logits, strict=True):
        assert said == pytest.approx(logits, abs=1e-5)
    assert row.cells()[-8:] == (*row.student_logits, *row.teacher_logits)
    assert TileRow.names()[-8:-3:4] == ("student_logit_0", "teacher_logit_0")


def test_without_ihc_what_needs_the_teacher_is_none(
    pair: StainPair, student: OpenModel, teacher: OpenModel
) -> None:
    alone = StainPair(pair.he, pair.grid)
    (one,) = inspect_slide(alone, student, teacher, TILES[:1])
    assert isinstance(one, InspectedTile)
    cells = dict(zip(TileRow.names(), row_of(one, pair.grid).cells(), strict=True))
    known = {name for name, value in cells.items() if value is not None}
    logits = {f"student_logit_{grade}" for grade in range(4)}
    assert known == logits | {
        "row", "column", "y_px", "x_px", "student_grade", "student_expected"
    }  # fmt: skip


@pytest.mark.parametrize("stalled", ["he.tif", "ihc.tif"])
def test_the_slide_that_does_not_answer_is_named(
    pair: StainPair, student: OpenModel, teacher: OpenModel, monkeypatch, stalled: str
) -> None:
    over = Event()
    monkeypatch.setattr(slide, "READING_LIMIT_S", 0.3)
    reader = {one.name: one.reader for one in (pair.he, pair.ihc.slide)}[stalled]
    monkeypatch.setattr(reader, "read", lambda *_: over.wait(30))
    try:
        with pytest.raises(SlideStalledError, match=f"{stalled}.* did not answer within 0.3 s"):
            list(inspect_slide(pair, student, teacher, TILES))
    finally:
        over.set()
