"""Grading tiles: order, batches, damaged tiles, stopping, failures of the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from napari_hmkd.errors import DeviceError, ModelError, SlideStalledError
from napari_hmkd.grading import OpenModel
from napari_hmkd.inference import grade_slide
from napari_hmkd.planning import GradePlan, GradeSettings, plan_grading
from napari_hmkd.slide import open_slide
from napari_hmkd.tile_grader import TileGrader

PaintSlide = Callable[..., Path]
GRADES = [[0, 1, 2, 3, -1], [3, 2, 1, 0, 0], [1, -1, 3, 1, 2]]
CPU = torch.device("cpu")


@pytest.fixture
def plan(tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel) -> Iterator[GradePlan]:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        yield plan_grading(slide, colour_model.card, GradeSettings(batch_size=3))


class Answering(nn.Module):
    """Returns, or raises, the same for every batch."""

    def __init__(self, answer: torch.Tensor | Exception) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, he: torch.Tensor) -> SimpleNamespace:
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(logits=self.answer.expand(len(he), -1))


def grader(model: OpenModel) -> TileGrader:
    return TileGrader(model.network, model.card, CPU)


def test_each_tile_gets_the_grade_of_its_pixels(plan: GradePlan, colour_model: OpenModel) -> None:
    batches = list(grade_slide(plan, grader(colour_model)))
    tiles = np.concatenate([batch.tiles for batch in batches])
    probabilities = np.concatenate([batch.probabilities for batch in batches])
    assert tiles.tolist() == plan.tiles.tolist()
    assert probabilities.dtype == np.float32
    assert probabilities.argmax(axis=1).tolist() == np.array(GRADES)[tuple(tiles.T)].tolist()
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_tiles_come_in_the_order_asked_for_in_batches(
    plan: GradePlan, colour_model: OpenModel
) -> None:
    order = plan.tiles[::-1]
    batches = [b.tiles for b in grade_slide(plan, grader(colour_model), order)]
    assert [len(batch) for batch in batches] == [3, 3, 3, 3, 1]
    assert np.concatenate(batches).tolist() == order.tolist()


def test_the_order_does_not_change_a_tile_s_grade(plan: GradePlan, student_file: Path) -> None:
    from napari_hmkd.grading import open_model

    network = open_model(student_file).network
    found = []
    for order in (plan.tiles, plan.tiles[::-1]):
        batches = list(grade_slide(plan, TileGrader(network, plan.card, CPU), order))
        tiles = np.concatenate([batch.tiles for batch in batches])
        probabilities = np.concatenate([batch.probabilities for batch in batches])
        found.append(probabilities[np.lexsort(tiles.T[::-1])])
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_probabilities_are_calibrated_with_the_card_s_temperature(plan: GradePlan) -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 4.0]])
    batch = next(grade_slide(plan, TileGrader(Answering(logits), plan.card, CPU)))
    assert plan.card.temperature == 2.0
    expected = torch.softmax(logits / 2, dim=1).numpy()
    assert batch.probabilities == pytest.approx(expected.repeat(3, axis=0))


def test_a_damaged_tile_is_marked_and_the_others_are_graded(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    path = paint_slide(tmp_path / "slide.tif", GRADES, damaged=[(0, 1), (2, 3)])
    with open_slide(path) as slide:
        plan = plan_grading(slide, colour_model.card, GradeSettings(batch_size=1))
        batches = list(
            grade_slide(plan, grader(colour_model), np.array([[0, 0], [0, 1], [2, 3], [2, 4]]))
        )
    assert [len(batch.tiles) for batch in batches] == [1, 0, 0, 1]
    assert [batch.probabilities.shape for batch in batches] == [(1, 4), (0, 4), (0, 4), (1, 4)]
    failed = [tile for batch in batches for tile in batch.failed]
    assert [(tile.row, tile.column) for tile in failed] == [(0, 1), (2, 3)]
    assert all(tile.message for tile in failed)


class CountingSlide:
    """A slide that counts its reads, each of which takes a while."""

    def __init__(self, plan: GradePlan) -> None:
        self._slide = plan.slide
        self.in_order = plan.slide.in_order
        self._lock = threading.Lock()
        self.started = self.running = 0

    def read(self, *place: object) -> np.ndarray:
        with self._lock:
            self.started += 1
            self.running += 1
        time.sleep(0.02)
        pixels = self._slide.read(*place)  # type: ignore[arg-type]
        with self._lock:
            self.running -= 1
        return pixels


def test_closing_stops_the_reads(plan: GradePlan, colour_model: OpenModel) -> None:
    slide = CountingSlide(plan)
    counted = replace(plan, slide=slide, settings=GradeSettings(batch_size=1))  # type: ignore[arg-type]
    tiles = np.tile(plan.tiles, (50, 1))
    with closing(grade_slide(counted, grader(colour_model), tiles)) as batches:
        next(batches)
    time.sleep(0.1)  # the reads under way end
    started = slide.started
    assert slide.running == 0
    time.sleep(0.1)
    assert slide.started == started < 30


def test_only_so_many_tiles_are_read_ahead(plan: GradePlan, colour_model: OpenModel) -> None:
    slide = CountingSlide(plan)
    counted = replace(plan, slide=slide, settings=GradeSettings(batch_size=2))  # type: ignore[arg-type]
    with closing(grade_slide(counted, grader(colour_model), np.tile(plan.tiles, (50, 1)))) as b:
        next(b)
        time.sleep(0.5)  # a slow network or viewer
        assert slide.started <= 2 + 2 + 8


def test_a_stalled_drive_ends_the_run_and_fails_no_tile(
    plan: GradePlan, colour_model: OpenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    class StallingSlide:
        """Its third tile does not come."""

        in_order = plan.slide.in_order
        asked = 0

        def read(self, *place: object) -> np.ndarray:
            self.asked += 1
            if self.asked >= 3:
                answered.wait()
            return plan.slide.read(*place)  # type: ignore[arg-type]

    monkeypatch.setattr("napari_hmkd.slide.slide.READING_LIMIT_S", 0.2)
    stalled = replace(plan, slide=StallingSlide(), settings=GradeSettings(batch_size=1))  # type: ignore[arg-type]
    batches = []
    with pytest.raises(SlideStalledError, match=r"did not answer within 0.2 s"):
        batches.extend(grade_slide(stalled, grader(colour_model)))
    answered.set()
    assert len(batches) <= 2
    assert not any(batch.failed for batch in batches)


@pytest.mark.parametrize(
    "failure", [torch.OutOfMemoryError("out of memory"), RuntimeError("shapes differ")]
)
def test_a_failure_of_torch_is_a_device_error(plan: GradePlan, failure: Exception) -> None:
    with pytest.raises(DeviceError, match=str(failure)):
        list(grade_slide(plan, TileGrader(Answering(failure), plan.card, CPU)))


def test_an_answer_that_is_no_grade_is_a_model_error(plan: GradePlan) -> None:
    with pytest.raises(ModelError, match="colours"):
        list(grade_slide(plan, TileGrader(Answering(torch.zeros(1, 2)), plan.card, CPU)))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_tile_without_a_finite_answer_is_marked_and_the_run_goes_on(
    plan: GradePlan, value: float
) -> None:
    batches = list(
        grade_slide(plan, TileGrader(Answering(torch.tensor([[0, 0, value, 0]])), plan.card, CPU))
    )
    failed = [(tile.row, tile.column) for batch in batches for tile in batch.failed]
    assert sorted(failed) == sorted(map(tuple, plan.tiles.tolist()))
    assert all("not finite" in tile.message for batch in batches for tile in batch.failed)
    assert all(len(batch.tiles) == len(batch.probabilities) == 0 for batch in batches)


def test_the_network_is_put_into_eval_mode(plan: GradePlan) -> None:
    network = Answering(torch.zeros(1, 4)).train()
    list(grade_slide(plan, TileGrader(network, plan.card, CPU)))
    assert not network.training
