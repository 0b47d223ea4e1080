"""What the summary says of marked regions, and which grade by area it states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from napari_hmkd.errors import SlideError
from napari_hmkd.export.regions import region_entries, slide_grade
from napari_hmkd.export.summary import summarise
from napari_hmkd.grading import OpenModel, SlideGrading, start_grading
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import regions_of_shapes
from napari_hmkd.slide import open_slide

TILE = 256  # level-0 px
GRADES = [[0, 1, 2, 3], [0, 0, 0, 0], [3, 3, 3, 3]]


def box(name: str, top: float, left: float, bottom: float, right: float):
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    tiles = [(y * TILE, x * TILE) for y, x in corners]
    return regions_of_shapes([(name, [("polygon", tiles)])])[0]


@pytest.fixture
def graded(tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel):
    """Grade with regions, so many batches of one tile."""

    @contextmanager
    def grade(
        *regions: object,
        batches: int | None = None,
        only_regions: bool = False,
        damaged: Sequence[tuple[int, int]] = (),
    ) -> Iterator[SlideGrading]:
        settings = GradeSettings(batch_size=1, device="cpu", only_regions=only_regions)
        with open_slide(paint_slide(tmp_path / "slide.tif", GRADES, damaged)) as slide:
            grading = start_grading(slide, colour_model, settings, regions=regions)
            list(islice(grading.run(), batches))
            yield grading

    return grade


def test_a_region_is_summed_up_by_its_own_tissue(graded) -> None:
    with graded(box("half a row", 0, 0, 0.5, 4), box("elsewhere", 2, 0, 3, 1)) as grading:
        first, second = region_entries(grading)
    assert (first["name"], second["name"]) == ("half a row", "elsewhere")
    shares = [grade["share"] for grade in first["grades"].values()]
    assert shares == pytest.approx([0.25] * 4, abs=0.01)
    assert first["graded_tissue_mm2"] == pytest.approx(2 * 1.024**2, rel=0.03)
    assert first["expected_grade"] == pytest.approx(1.5, abs=0.1)
    assert (first["graded_tiles"], second["graded_tiles"]) == (4, 1)
    assert second["grade_of_most_area"] == "3+"


@pytest.mark.parametrize(
    ("right", "grade"),
    [(1.0, "0"), (1.09, "0"), (1.15, "1+"), (2.0, "1+"), (2.5, "2+"), (3.2, "2+"), (3.5, "3+")],
)
def test_the_highest_grade_that_with_those_above_covers_more_than_a_tenth(
    graded, right: float, grade: str
) -> None:
    with graded(box("Invasive tumour", 0, 0, 1, right)) as grading:
        found = slide_grade(grading)
    assert found["grade"] == grade
    assert found["meaning"] == "by area of tiles, not by cells: not an ASCO/CAP score"
    assert "10 %" in found["rule"]


def test_without_marked_tumour_there_is_no_grade(graded) -> None:
    with graded(box("stroma", 0, 0, 1, 4)) as grading:
        found = summarise(grading)["slide_grade"]
    assert found["grade"] is None
    assert found["reason"] == (
        "not restricted to invasive tumour: no region is called 'invasive tumour'; marked: 'stroma'"
    )


def test_the_grade_names_its_region(graded) -> None:
    with graded(box("Stroma", 0, 0, 1, 4), box("Tumor", 2, 0, 3, 4)) as grading:
        found = slide_grade(grading)
    assert (found["grade"], found["region"]) == ("3+", "Tumor")


def test_while_tiles_of_the_tumour_are_left_there_is_no_grade(graded) -> None:
    with graded(box("invasive tumour", 0, 0, 2, 1), batches=2) as grading:
        found = slide_grade(grading)
    assert found["grade"] is None
    assert found["reason"] == "left without a grade: 1 tile of the marked invasive tumour"


@pytest.mark.parametrize(
    ("right", "grade", "reason"),
    [
        (1, None, "the marked invasive tumour has no graded tissue"),
        (2, "1+", "1 of its tiles could not be read and do not count"),
    ],
)
def test_the_grade_is_of_the_tiles_that_could_be_read_and_says_so(
    graded, right: int, grade: str | None, reason: str
) -> None:
    with graded(box("invasive tumour", 0, 0, 1, right), damaged=[(0, 0)]) as grading:
        found = slide_grade(grading)
    assert (found["grade"], found["reason"]) == (grade, reason)


def test_only_tiles_of_regions_are_graded_where_that_is_asked_for(graded) -> None:
    with graded(box("a", 0, 0, 1, 1.2), only_regions=True) as grading:
        assert grading.plan.tiles.tolist() == [[0, 0], [0, 1]]
        assert not len(grading.heatmap.remaining)
        assert slide_grade(grading)["grade"] is None
        (warning,) = grading.warnings
    assert "only tiles that reach into a marked region ('a')" in warning


def test_a_region_off_the_slide_is_named_in_a_warning(graded) -> None:
    with graded(box("near", 0, 3, 1, 5), box("far", 5, 5, 6, 6)) as grading:
        (warning,) = grading.warnings
    assert "the region 'far' lies wholly outside the slide" in warning
    assert "768 x 1024 px" in warning


def test_regions_that_are_marked_later_take_the_place_of_the_earlier_ones(graded) -> None:
    with graded(box("far", 5, 5, 6, 6)) as grading:
        grading.mark([box("near", 0, 0, 1, 1), box("beyond", 7, 7, 8, 8)])
        (warning,) = grading.warnings
        assert [entry["name"] for entry in region_entries(grading)] == ["near", "beyond"]
    assert "'beyond' lies wholly outside" in warning


def test_only_regions_without_a_region_is_refused(graded) -> None:
    with pytest.raises(SlideError, match="none is marked"), graded(only_regions=True):
        pass


def test_a_region_off_the_slide_leaves_nothing_to_grade(graded) -> None:
    with (
        pytest.raises(SlideError, match=r"and in a marked region.*'a' lies wholly outside"),
        graded(box("a", 5, 5, 6, 6), only_regions=True),
    ):
        pass
