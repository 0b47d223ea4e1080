"""Noting a reader's score."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_hmkd.errors import DataError
from napari_hmkd.study.recording import add_score, noted_score
from napari_hmkd.study.scores import Score, read_scores

FIRST, SECOND = Score("a.svs", "", "Dr. Ä, 1", 2), Score("b.svs", "tumour", "Dr. Ä, 1", 0)


def test_scores_come_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "scores.csv"
    for score in (FIRST, SECOND):
        assert noted_score(path, score.case, score.reader) is None
        add_score(path, score)
        assert noted_score(path, score.case, score.reader) == score
    assert read_scores(path).scores == (FIRST, SECOND)
    assert [one.name for one in path.parent.iterdir()] == ["scores.csv"]


def test_a_score_is_not_changed_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    add_score(path, FIRST)
    before = path.read_bytes()
    with pytest.raises(DataError, match="has a 2\\+ of that reader already"):
        add_score(path, Score(FIRST.slide, FIRST.region, FIRST.reader, 3))
    assert path.read_bytes() == before


@pytest.mark.parametrize("reader", ["dr. ä, 1"])
def test_a_name_in_another_spelling_is_refused(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "scores.csv"
    add_score(path, FIRST)
    before = path.read_bytes()
    with pytest.raises(DataError, match="write it the same way everywhere"):
        add_score(path, Score("c.svs", "", reader, 3))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["scores.csv"]


def test_what_is_no_table_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="no column slide"):
        add_score(path, FIRST)
    assert path.read_text(encoding="utf-8") == "mine"
