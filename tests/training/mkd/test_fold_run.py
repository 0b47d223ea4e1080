"""What a finished piece has written can be read again, or is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.errors import OutputError
from napari_hmkd.training.mkd.fold_run import ANSWERS_FILE, OUTCOME_FILE, FoldRun

ANSWERS = "network,case,patient,label,logit_0,logit_1\nP,a,p,1,0.5,-0.25\n"


@pytest.fixture
def piece(tmp_path: Path) -> FoldRun:
    (tmp_path / OUTCOME_FILE).write_text('{"temperature": {"P": 2.0}}', encoding="utf-8")
    nothing: Any = None
    return FoldRun(tmp_path, "alone", nothing, nothing, nothing)


def test_answers_are_read_as_they_were_written(piece: FoldRun) -> None:
    (piece.folder / ANSWERS_FILE).write_text(ANSWERS, encoding="utf-8")
    found = piece.answers()["P"]
    assert (found.cases, found.patients, found.temperature) == (("a",), ("p",), 2.0)
    assert (found.labels.tolist(), found.logits.tolist()) == ([1], [[0.5, -0.25]])


@pytest.mark.parametrize("content", [ANSWERS + "P,b,p,0,0.5", ANSWERS + "x" * 200_000, ""])
def test_answers_that_were_cut_or_damaged_are_named(piece: FoldRun, content: str) -> None:
    (piece.folder / ANSWERS_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(OutputError, match=rf"{ANSWERS_FILE} cannot be read"):
        piece.answers()
