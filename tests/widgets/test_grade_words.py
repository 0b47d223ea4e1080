"""What a run had to do otherwise than asked for is said while it runs."""

from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="needs the napari extra")

import numpy as np
import torch
from tests.widgets.pressing import press_and_wait

from napari_hmkd.errors import DeviceError
from napari_hmkd.tile_grader import Answer, TileGrader
from napari_hmkd.widgets.grade_widget import GradeWidget

pytestmark = pytest.mark.gui


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for three tiles at once."""

    answer_part = TileGrader.answer_part

    def answer_few(self: TileGrader, tiles: list[np.ndarray]) -> Answer:
        if len(tiles) > 3:
            raise DeviceError("the network failed") from torch.OutOfMemoryError(
                "CUDA out of memory"
            )
        return answer_part(self, tiles)

    monkeypatch.setattr(TileGrader, "answer_part", answer_few)


def test_a_lack_of_memory_is_said_at_once_and_stays_in_the_notice(
    widget: GradeWidget, qtbot, small_memory: None
) -> None:
    said: dict[int, str] = {}
    widget.run.progressed.connect(lambda tried, *_: said.update({tried: widget.status.value}))
    assert press_and_wait(widget, qtbot)
    notes = widget.run.grading.grader.notes
    assert len(notes) == 1, "the first four tiles, then two"
    first = min(tried for tried in said if tried)
    assert first < len(widget.run.grading.plan.tiles)
    assert said[first].endswith(f"tiles/s. {notes[-1]}")
    assert all(note in widget.notice.value for note in notes)
