"""What of results follows from their tiles, to the last digit that a table has, and what does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from napari_hmkd.consistency import (
    CheckedSummary,
    not_recomputed,
    summary_problems,
    table_problems,
)
from napari_hmkd.export.provenance import png_text
from napari_hmkd.export.summary import write_summary
from napari_hmkd.export.table import tile_table, write_tiles
from napari_hmkd.export.tissue import write_tissue
from napari_hmkd.grading import OpenModel, start_grading
from napari_hmkd.inference import GradedBatch
from napari_hmkd.model import ModelCard
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.result_files import ResultFiles, read_result_files
from napari_hmkd.slide import Slide, open_slide

ZERO, ONE, TWO, THREE = np.eye(4) * 0.96 + 0.01
# The upper and the lower two of four tiles.
TUMOUR = MarkedRegion("invasive tumour", shapely.box(0, 0, 512, 256))
REST = MarkedRegion("rest", shapely.box(0, 256, 512, 512))


@dataclass
class Written:
    """Results, with the slide and the card that they are of."""

    folder: Path
    slide: Slide
    card: ModelCard

    @property
    def found(self) -> ResultFiles[CheckedSummary]:
        return read_result_files(self.folder, "verify", CheckedSummary)

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_bytes())
        return found

    def problems(self, *regions: MarkedRegion) -> list[str]:
        found = self.found
        told = summary_problems(self.folder, found, self.slide, self.card, regions)
        return table_problems(found) + told

    def change(self, said: dict[str, Any]) -> None:
        (self.folder / "summary.json").write_text(json.dumps(said), encoding="utf-8")


@pytest.fixture
def write(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> Iterator[Callable[..., Written]]:
    """Write what a model would have answered to the first of 2 x 2 tiles."""
    with ExitStack() as slides:

        def written(
            answers: Sequence[np.ndarray],
            regions: Sequence[MarkedRegion] = (),
            only_regions: bool = False,
            thresholds: tuple[float, ...] = (),
        ) -> Written:
            path = paint_slide(tmp_path / "slide.tif", [[0, 1], [2, 3]])
            slide = slides.enter_context(open_slide(path))
            card = replace(colour_model.card, conformal_thresholds=thresholds)
            settings = GradeSettings(device="cpu", only_regions=only_regions)
            model = replace(colour_model, card=card)
            grading = start_grading(slide, model, settings, regions=regions)
            tiles = grading.plan.tiles[: len(answers)]
            grading.heatmap.update(GradedBatch(tiles, np.array(answers, np.float32)))
            assert grading.plan.tissue is not None
            write_tissue(grading.plan.tissue, tmp_path / "tissue.png", png_text(grading))
            write_tiles(tile_table(grading), tmp_path / "tiles.csv", tmp_path / "tiles.parquet")
            write_summary(grading, tmp_path / "summary.json")
            return Written(tmp_path, slide, card)

        yield written


def table(p: Sequence[float], grade: int) -> ResultFiles[Any]:
    mean = np.dot(p, range(4))
    tile, grades = np.array([[2, 5]]), np.array([grade])
    return ResultFiles(None, tile, np.array([p]), grades, np.array([mean]))


def test_a_table_has_the_most_probable_grade_or_one_as_probable() -> None:
    tie = (0.4, 0.4, 0.1, 0.1)
    assert table_problems(table(tie, 0)) == table_problems(table(tie, 1)) == []
    said = "grade of 1 tile is not what their probabilities say, the first of them tile 2, 5"
    assert table_problems(table((0.400001, 0.399999, 0.1, 0.1), 1)) == [said]


def test_probabilities_add_up_to_one_but_for_their_last_digits() -> None:
    assert table_problems(table((0.500001, 0.5, 0.000001, 0.0), 0)) == []
    said = "p_0 to p_3 of 1 tile do not add up to 1, the first of them tile 2, 5"
    assert table_problems(table((0.5, 0.2, 0.1, 0.1), 0)) == [said]


def test_an_area_may_turn_on_a_digit_that_the_table_does_not_have(write) -> None:
    results = write([ZERO, ZERO, TWO, (0.3999996, 0.4000003, 0.1, 0.1000001)])
    assert results.said["grades"]["1+"]["area_mm2"] > 1
    assert results.problems() == []


def test_a_prediction_set_may_turn_on_a_digit_that_the_table_does_not_have(write) -> None:
    results = write(
        [ZERO, ZERO, TWO, (0.6000004, 0.2999996, 0.05, 0.05)], thresholds=(0.3, 0.3, 0.3, 0.3)
    )
    assert results.said["undecided_tiles"] == 0
    assert results.problems() == []


def test_of_tumour_that_is_not_graded_wholly_there_is_no_grade(write) -> None:
    results = write([THREE], [TUMOUR, REST])
    assert results.said["regions"][0]["grade_of_most_area"] == "3+"
    assert results.said["slide_grade"]["grade"] is None
    assert results.problems() == results.problems(TUMOUR, REST) == []


def test_a_region_that_was_rewritten_as_a_whole_is_found_by_its_outline_alone(write) -> None:
    results = write([THREE, THREE, ZERO, ZERO], [TUMOUR, REST])
    said = results.said
    assert said["slide_grade"]["grade"] == "3+"
    said["regions"][0] = said["regions"][1] | {"name": TUMOUR.name}
    said["slide_grade"]["grade"] = "0"
    results.change(said)
    assert results.problems() == []
    (unknown,) = not_recomputed(results.found.summary, [])
    assert "'invasive tumour', 'rest'" in unknown
    assert not_recomputed(results.found.summary, [TUMOUR, REST]) == []
    problems = results.problems(TUMOUR, REST)
    of_what = "summary.json: of the region 'invasive tumour', "
    assert all(one.startswith(of_what) for one in problems)
    names = [one.removeprefix(of_what).split(" ")[0] for one in problems]
    assert names == ["grades.0.area_mm2", "grades.3+.area_mm2", "expected_grade"]


def test_whether_regions_alone_are_graded_wholly_is_told_where_they_are_given(write) -> None:
    results = write([THREE, THREE], [TUMOUR], only_regions=True)
    assert results.problems() == results.problems(TUMOUR) == []
    (unknown,) = not_recomputed(results.found.summary, [])
    assert "whether all tiles were tried" in unknown
    results.change(results.said | {"complete": False})
    assert results.problems(TUMOUR) == [
        "summary.json: complete is False, and what it is taken from says True"
    ]


@pytest.mark.parametrize(("part", "value"), [("grade", "3+"), ("region", "core")])
def test_without_a_region_no_grade_of_the_slide_follows(write, part: str, value: str) -> None:
    results = write([THREE, THREE, ZERO, ZERO])
    said = results.said
    said["slide_grade"][part] = value
    results.change(said)
    expected = f"summary.json: slide_grade.{part} is {value}, and what it is taken from says None"
    assert results.problems() == [expected]
