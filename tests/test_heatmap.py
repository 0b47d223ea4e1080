"""The canvas of one pixel per tile, and the areas it adds up to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.grading import OpenModel
from napari_hmkd.heatmap import Heatmap, SlideSummary
from napari_hmkd.inference import FailedTile, GradedBatch
from napari_hmkd.overlap import mean_of_tiles
from napari_hmkd.palette import GRADE_COLOURS, colourise
from napari_hmkd.planning import GradePlan, GradeSettings, plan_grading
from napari_hmkd.slide import open_slide


@pytest.fixture
def plan(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> Iterator[GradePlan]:
    path = paint_slide(tmp_path / "slide.tif", [[0, 1, -1], [2, 3, 0]])
    with open_slide(path) as slide:
        yield plan_grading(slide, colour_model.card)


def batch(
    *tiles: tuple[int, int], p: tuple[float, ...], failed: tuple[FailedTile, ...] = ()
) -> GradedBatch:
    return GradedBatch(
        np.array(tiles, dtype=np.int64).reshape(-1, 2),
        np.array([p] * len(tiles), dtype=np.float32).reshape(-1, 4),
        failed,
    )


def test_at_first_nothing_is_graded(plan: GradePlan) -> None:
    heatmap = Heatmap(plan)
    assert np.isnan(heatmap.expected_grade).all()
    assert heatmap.expected_grade.shape == (2, 3)
    assert (heatmap.grade == -1).all()
    assert heatmap.remaining.tolist() == plan.tiles.tolist()
    assert heatmap.summary().share == (0.0,) * 4


def test_a_batch_fills_its_tiles_and_no_other(plan: GradePlan) -> None:
    heatmap = Heatmap(plan)
    heatmap.update(batch((0, 1), (1, 2), p=(0.1, 0.2, 0.3, 0.4)))
    assert np.argwhere(heatmap.graded).tolist() == [[0, 1], [1, 2]]
    assert heatmap.expected_grade[0, 1] == pytest.approx(0.2 + 2 * 0.3 + 3 * 0.4)
    assert heatmap.grade[1, 2] == 3
    assert heatmap.remaining.tolist() == [[0, 0], [1, 0], [1, 1]]


def test_of_two_grades_with_the_same_area_neither_has_most() -> None:
    tie, least = 0.221878681, 0.1
    assert (
        SlideSummary((0.0, tie, tie * (1 + 1e-12), least), (), 5, 0, 1.6, 0).grade_of_most_area
        is None
    )
    assert SlideSummary((0.0, tie, tie, 0.3), (), 5, 0, 1.6, 0).grade_of_most_area == 3
    assert SlideSummary((0.0,) * 4, (), 0, 0, None, 0).grade_of_most_area is None


def test_a_failed_tile_stays_empty_and_is_not_tried_again(plan: GradePlan) -> None:
    heatmap = Heatmap(plan)
    heatmap.update(batch(p=(), failed=(FailedTile(1, 1, "broken"),)))
    assert not heatmap.graded.any()
    assert [1, 1] not in heatmap.remaining.tolist()
    assert heatmap.summary().failed_tiles == 1


def test_area_is_the_tissue_of_the_tiles(plan: GradePlan) -> None:
    heatmap = Heatmap(plan)
    heatmap.update(batch((0, 0), (0, 1), p=(1, 0, 0, 0)))
    heatmap.update(batch((1, 1), p=(0, 0, 0, 1)))
    summary = heatmap.summary()
    tile_mm2 = 1.024**2
    assert summary.area_mm2 == pytest.approx((2 * tile_mm2, 0, 0, tile_mm2), rel=0.05)
    assert summary.share == pytest.approx((2 / 3, 0, 0, 1 / 3), abs=0.02)
    assert summary.graded_tiles == 3


def test_a_region_counts_by_what_of_each_tile_is_its_tissue(plan: GradePlan) -> None:
    heatmap = Heatmap(plan)
    heatmap.update(batch((0, 0), p=(1, 0, 0, 0)))
    heatmap.update(batch((0, 1), p=(0, 0, 0, 1)))
    heatmap.update(batch((1, 1), p=(0, 1, 0, 0)))
    share = np.zeros((2, 3), np.float32)
    share[0, :2] = 0.25, 0.75
    summary = heatmap.summary(share)
    assert summary.area_mm2 == pytest.approx((0.25 * 1.024**2, 0, 0, 0.75 * 1.024**2))
    assert summary.share == pytest.approx((0.25, 0, 0, 0.75))
    assert summary.expected_grade == pytest.approx(0.75 * 3)
    assert summary.graded_tiles == 2


@pytest.mark.parametrize("square", [2, -1], ids=["tissue", "glass, without a tissue mask"])
def test_a_tile_over_the_edge_counts_with_what_lies_on_the_slide(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel, square: int
) -> None:
    path = paint_slide(tmp_path / "edge.tif", [[square]])
    with open_slide(path, mpp=6.0) as slide:  # a tile and a half each way
        heatmap = Heatmap(plan_grading(slide, colour_model.card, GradeSettings(force=True)))
    heatmap.update(batch((0, 0), (0, 1), (1, 0), (1, 1), p=(0, 1, 0, 0)))
    assert heatmap.summary().area_mm2[1] == pytest.approx(1.536**2, rel=0.05)


def test_the_colours_of_whole_grades_are_those_of_the_legend() -> None:
    found = (255 * colourise(np.arange(4.0))[:, :3]).round().astype(int)
    assert ["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in found.tolist()] == list(GRADE_COLOURS)


def test_not_graded_is_transparent() -> None:
    assert colourise(np.array([np.nan, 1.0]))[:, 3].tolist() == [0, 1]


def test_a_map_that_is_asked_for_in_the_middle_of_an_update_is_not_kept(
    tmp_path: Path,
    paint_slide: Callable[..., Path],
    colour_model: OpenModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = paint_slide(tmp_path / "overlap.tif", [[0, 1], [2, 3]])
    with open_slide(path) as slide:
        heatmap = Heatmap(plan_grading(slide, colour_model.card, GradeSettings(stride=0.5)))

    def slowly(answers: np.ndarray, overlap: int) -> np.ndarray:
        mean = mean_of_tiles(answers, overlap)
        if not heatmap.graded_tiles[0, 0]:  # another thread enters a batch meanwhile
            heatmap.update(batch((0, 0), p=(0, 0, 0, 1)))
        return mean

    monkeypatch.setattr("napari_hmkd.heatmap.mean_of_tiles", slowly)
    assert np.isnan(heatmap.probabilities).all()
    assert heatmap.graded.sum() == 4
