"""The one path of button and command line: run, stop, run on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hmkd import grading as grading_module
from napari_hmkd.errors import DeviceError, ModelError, SlideError, UnsuitableSlideError
from napari_hmkd.geometry import Region
from napari_hmkd.grading import OpenModel, SlideGrading, make_ready, open_model, start_grading
from napari_hmkd.planning import GradeSettings
from napari_hmkd.queueing import TileQueue
from napari_hmkd.slide import open_slide
from napari_hmkd.tile_grader import Answer, TileGrader

PaintSlide = Callable[..., Path]
GRADES = [[0, 1, 2, 3], [3, 2, 1, 0], [1, -1, 3, 1]]
BY_ONE = GradeSettings(batch_size=1, device="cpu")


def test_run_grades_every_tile_with_tissue(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        grading = start_grading(slide, colour_model)
        began = time.perf_counter()
        for batch in grading.run():
            assert grading.heatmap.graded[tuple(batch.tiles.T)].all()
    assert grading.heatmap.grade.tolist() == GRADES
    assert 0 < grading.seconds < time.perf_counter() - began


def test_a_stopped_run_is_taken_up_where_it_was(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        grading = start_grading(slide, colour_model, BY_ONE)
        stopped = grading.run()
        first = [next(stopped).tiles[0].tolist() for _ in range(4)]
        stopped.close()
        rest = [batch.tiles[0].tolist() for batch in grading.run()]
        assert list(grading.run()) == []
    assert sorted(first + rest) == grading.plan.tiles.tolist()


@pytest.mark.parametrize(
    ("device", "done"),
    [
        ("cuda:0", ["bfloat16 on cuda:0", "3 tiles of 256 px", "ready", "rest"]),
        ("cpu", []),
        ("mps", []),
    ],
)
def test_a_gpu_can_be_made_ready_for_a_model_before_there_is_a_slide(
    device: str, done: list[str], colour_model: OpenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    class Grader:
        def __init__(self, network: object, card: object, device: object, precision: str) -> None:
            assert (network, card) == (colour_model.network, colour_model.card)
            found.append(f"{precision} on {device}")

        def prepared(self, count: int, tile_px: int) -> AbstractContextManager[None]:
            found.append(f"{count} tiles of {tile_px} px")
            return nullcontext()

        def grade(self, tiles: list[object]) -> None:
            assert not tiles
            found.append("ready")

        def rest(self) -> None:
            found.append("rest")

    monkeypatch.setattr(grading_module, "TileGrader", Grader)
    monkeypatch.setattr(grading_module, "choose_device", torch.device)
    make_ready(colour_model, GradeSettings(3, device, "bfloat16"))
    assert found == done


@pytest.mark.parametrize("stopped", [False, True])
def test_after_a_run_nothing_that_was_recorded_holds_memory(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel, stopped: bool
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        grading = start_grading(slide, colour_model, BY_ONE)
        run = grading.run()
        next(run)
        grading.grader._ask._ways["a shape"] = grading.grader._ask  # as there would be on a GPU
        assert stopped or list(run)
        run.close()
    assert not grading.grader._ask.forget()


@pytest.mark.parametrize(
    ("batch_size", "first", "rest"), [(8, 4, [7]), (3, 3, [3, 3, 2]), (5, 4, [5, 2])]
)
def test_a_run_begins_with_a_small_batch_and_goes_on_with_whole_ones(
    tmp_path: Path,
    paint_slide: PaintSlide,
    colour_model: OpenModel,
    batch_size: int,
    first: int,
    rest: list[int],
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        settings = GradeSettings(batch_size=batch_size, device="cpu")
        whole = [len(batch.tiles) for batch in start_grading(slide, colour_model, settings).run()]
        grading = start_grading(slide, colour_model, settings)
        stopped = grading.run()
        begun = len(next(stopped).tiles)
        stopped.close()
        gone_on = [len(batch.tiles) for batch in grading.run()]
    assert whole == [first, *rest]
    assert [begun, *gone_on] == whole


def test_a_gpu_is_made_ready_while_the_slide_is_looked_at_and_takes_a_larger_first_batch(
    tmp_path: Path,
    paint_slide: PaintSlide,
    colour_model: OpenModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[object] = []
    plan = grading_module.plan_grading

    @contextmanager
    def prepared(_: TileGrader, *batch: int) -> Iterator[None]:
        done.append(batch)
        yield
        done.append("looked at")

    monkeypatch.setattr(TileGrader, "prepared", prepared)
    monkeypatch.setattr(
        grading_module, "plan_grading", lambda *given: done.append("plan") or plan(*given)
    )
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        grading = start_grading(slide, colour_model, GradeSettings(batch_size=9, device="cpu"))
        assert done == [(9, colour_model.card.tile_px), "plan", "looked at"]
        run = grading.run()
        monkeypatch.setattr(SlideGrading, "device", torch.device("cuda"))
        assert len(next(run).tiles) == 8
        run.close()


def test_a_gpu_works_no_more_for_a_slide_that_was_refused(
    tmp_path: Path,
    paint_slide: PaintSlide,
    colour_model: OpenModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    monkeypatch.setattr(TileGrader, "rest", lambda _: done.append("rest"))
    with open_slide(paint_slide(tmp_path / "glass.tif", [[-1, -1], [-1, -1]])) as slide:
        with pytest.raises(UnsuitableSlideError):
            start_grading(slide, colour_model)
    assert done == ["rest"]


def test_what_is_in_view_comes_first(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    view = Region(256, 512, 512, 256)
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        grading = start_grading(slide, colour_model, BY_ONE)
        order = [tuple(b.tiles[0]) for b in grading.run(TileQueue(((700.0, 600.0), view)))]
    assert order[:2] == [(2, 2), (1, 2)]
    assert order[-1] == (0, 0)


def test_a_run_with_damaged_tiles_ends_well(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    path = paint_slide(tmp_path / "slide.tif", GRADES, damaged=[(0, 1), (2, 3)])
    with open_slide(path) as slide:
        grading = start_grading(slide, colour_model)
        list(grading.run())
    assert sorted(grading.heatmap.failed) == [(0, 1), (2, 3)]
    expected = np.array(GRADES)
    expected[0, 1] = expected[2, 3] = -1
    assert grading.heatmap.grade.tolist() == expected.tolist()


def test_a_slide_of_which_no_tile_can_be_read_is_an_error(
    shared_data: Path, colour_model: OpenModel
) -> None:
    with (  # found at the first look, or at the end
        open_slide(shared_data / "slides" / "unreadable.svs", mpp=0.5) as slide,
        pytest.raises(SlideError, match="unreadable"),
    ):
        list(start_grading(slide, colour_model).run())


def test_a_run_without_a_single_answer_is_an_error(
    tmp_path: Path,
    paint_slide: PaintSlide,
    colour_model: OpenModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = lambda _, tiles: Answer(np.full((len(tiles), 4), np.nan, np.float32))  # noqa: E731
    monkeypatch.setattr(TileGrader, "grade", nowhere)
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        grading = start_grading(slide, colour_model)
        with pytest.raises(SlideError, match=r"slide\.tif, but none of its 11 tiles .* not finite"):
            list(grading.run())


def test_a_missing_device_is_refused_before_the_slide_is_read(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        slide.close()
        with pytest.raises(DeviceError):
            start_grading(slide, colour_model, GradeSettings(device="cuda:99"))


def test_a_model_is_opened_with_its_card_and_hash(student_file: Path) -> None:
    model = open_model(student_file)
    assert model.card.name == "random student"
    assert model.sha256() == hashlib.sha256(student_file.read_bytes()).hexdigest()


def test_a_student_is_no_teacher(student_file: Path) -> None:
    with pytest.raises(ModelError, match="is a student"):
        open_model(student_file, role="teacher")
