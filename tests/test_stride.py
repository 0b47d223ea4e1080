"""Grading with tiles that overlap: what is graded, shown, summed up, written and read back."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.cli.grade import main
from napari_hmkd.export import write_results
from napari_hmkd.grading import OpenModel, SlideGrading, open_model, start_grading
from napari_hmkd.layers import heatmap_layers
from napari_hmkd.map_modes import MapMode, tile_map
from napari_hmkd.planning import GradeSettings
from napari_hmkd.results import result_layers
from napari_hmkd.slide import open_slide
from napari_hmkd.verification import verify_results

GRADES = [[0, 1, -1, -1], [3, 2, 3, -1], [0, 0, 1, 2]]
TILE_MM2 = 1.024**2


def graded(
    path: Path, model: OpenModel, stride: float, kept_in: Path | None = None
) -> SlideGrading:
    with open_slide(path) as slide:
        settings = GradeSettings(device="cpu", stride=stride)
        grading = start_grading(slide, model, settings, kept_in=kept_in)
        list(grading.run())
    return grading


@pytest.mark.parametrize("stride", [0.5, 0.25])
def test_each_square_has_the_mean_of_the_tiles_over_it(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel, stride: float
) -> None:
    grading = graded(paint_slide(tmp_path / "slide.tif", GRADES), colour_model, stride)
    overlap, heatmap = round(1 / stride), grading.heatmap
    assert heatmap.probabilities.shape == (3 * overlap, 4 * overlap, 4)
    for row, column in np.argwhere(heatmap.graded):
        over = [
            heatmap.answers[row - down, column - right]
            for down, right in product(range(overlap), repeat=2)
            if row >= down and column >= right
        ]
        mean = np.nanmean(over, axis=0)
        np.testing.assert_allclose(heatmap.probabilities[row, column], mean, rtol=1e-5)


def test_every_other_tile_is_one_of_those_side_by_side(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> None:
    path = paint_slide(tmp_path / "slide.tif", GRADES)
    apart, overlapping = (graded(path, colour_model, stride) for stride in (1.0, 0.5))
    np.testing.assert_allclose(
        overlapping.heatmap.answers[::2, ::2], apart.heatmap.answers, rtol=1e-5
    )
    assert len(overlapping.plan.tiles) > 3 * len(apart.plan.tiles)


@pytest.mark.parametrize("stride", [0.5, 0.25])
def test_areas_still_add_up_to_the_tissue(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel, stride: float
) -> None:
    grading = graded(paint_slide(tmp_path / "slide.tif", GRADES), colour_model, stride)
    summary = grading.heatmap.summary()
    assert sum(summary.area_mm2) == pytest.approx(9 * TILE_MM2, rel=0.03)
    assert summary.graded_tiles == len(grading.plan.tiles)


def test_what_a_damaged_part_hides_shrinks_to_where_no_tile_could_be_read(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> None:
    path = paint_slide(tmp_path / "slide.tif", [[1] * 4] * 4, damaged=[(1, 1)])
    heatmap = graded(path, colour_model, 0.5).heatmap
    assert np.argwhere(heatmap.failed_tiles).tolist() == [
        [row, column] for row in (1, 2, 3) for column in (1, 2, 3)
    ]
    assert np.argwhere(heatmap.unreadable).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    assert (heatmap.graded | heatmap.unreadable).all()


def test_results_are_read_back_as_they_were_shown(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> None:
    path = paint_slide(tmp_path / "slide.tif", GRADES, damaged=[(2, 0)])
    with open_slide(path) as slide:
        grading = start_grading(slide, colour_model, GradeSettings(device="cpu", stride=0.5))
        list(grading.run())
        write_results(grading, tmp_path / "out")
    shown, found = heatmap_layers(grading), result_layers(tmp_path / "out")
    assert len(shown) == len(found) == 2
    for (data, look, _), (again, place, _) in zip(shown, found, strict=True):
        np.testing.assert_allclose(again, data, atol=1e-6)
        assert place["scale"] == look["scale"] == (512.0, 512.0)
        assert place["translate"] == look["translate"]
    with (tmp_path / "out" / "tiles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(grading.plan.tiles)
    assert {float(row["y_px"]) for row in rows} == {128.0 * row for row in range(6)}


def test_there_is_no_finer_map_where_steps_cut_cells_apart(
    tmp_path: Path, paint_slide: Callable[..., Path], student_file: Path
) -> None:
    path = paint_slide(tmp_path / "slide.tif", GRADES)
    heatmap = graded(path, open_model(student_file), 0.5).heatmap
    assert heatmap.evidence is not None
    assert heatmap.evidence.shape[2] == 1  # a tile of 256 px has a single cell
    shown = tile_map(heatmap, MapMode.FINER)
    assert shown.cells == 1
    np.testing.assert_array_equal(shown.values, heatmap.expected_grade)


def test_a_run_is_resumed_with_its_own_stride_only(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> None:
    path, kept_in = paint_slide(tmp_path / "slide.tif", GRADES), tmp_path / "kept"
    first = graded(path, colour_model, 0.5, kept_in)
    assert graded(path, colour_model, 0.5, kept_in).resumed_tiles == len(first.plan.tiles)
    assert graded(path, colour_model, 1.0, kept_in).resumed_tiles == 0


def test_the_command_line_grades_so_and_verifies_it(
    tmp_path: Path, paint_slide: Callable[..., Path], student_file: Path, capsys
) -> None:
    path, out = paint_slide(tmp_path / "slide.tif", GRADES), tmp_path / "out"
    options = ["--model", str(student_file), "--out", str(out), "--stride"]
    with pytest.raises(SystemExit) as ended:
        main([str(path), *options, "0.3"])
    assert ended.value.code == 2
    assert "one of 1, 0.5, 0.25" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit) as ended:
        main([str(path), *options, "0.5"])
    assert ended.value.code == 0
    found = verify_results(out / path.name, model=str(student_file))
    assert (found.tiles, found.problems) == (32, ())
