"""Which result belongs to which scores, and that nothing is dropped silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_hmkd.errors import DataError
from napari_hmkd.study.matching import match
from napari_hmkd.study.model_results import SlideResult
from napari_hmkd.study.scores import Score
from napari_hmkd.study.values import ModelValue

X, Y = "11" * 32, "22" * 32


def result(
    slide: str, *regions: str, below: str = "out", sha256: str = "0123", fingerprint: str = X
) -> SlideResult:
    values = {region: ModelValue(float(number), number) for number, region in enumerate(regions or [""])}  # fmt: skip
    return SlideResult(
        Path(below) / slide, slide, fingerprint, values, f"model {sha256}", sha256, "", ()
    )


def scored(*cases: tuple[str, str]) -> list[Score]:
    return [Score(slide, region, "anna", 2) for slide, region in cases]


@pytest.mark.parametrize(
    ("in_scores", "file"),
    [
        ("a.svs", "a.svs"),
        ("a", "a.svs"),
        ("A", "a.SVS"),
        ("a", "a.ome.tif"),
        ("a.ome", "a.ome.tif"),
        ("a", "a.ome.zarr"),
        ("S23.1234", "S23.1234.svs"),
        ("S23.1234", "S23.1234"),  # a folder of DICOM files
        ("G\u00e4nse", "Ga\u0308nse.tif"),
    ],
)
def test_a_slide_is_found_by_its_file_s_name(in_scores: str, file: str) -> None:
    assert match(scored((in_scores, "")), [result(file)]).values == {
        (in_scores, ""): ModelValue(0.0, 0)
    }


@pytest.mark.parametrize(
    ("in_scores", "file"),
    [("a.svs", "a.tif"), ("a.svs", "a"), ("S23", "S23.1234.svs"), ("S23", "S23.1234"), ("a", "ab.svs")],
)  # fmt: skip
def test_other_names_are_other_slides(in_scores: str, file: str) -> None:
    found = match(scored((in_scores, "")), [result(file)])
    assert (found.values, found.results) == ({}, ())
    assert found.slides_without_results == (in_scores,)
    assert found.results_without_scores == (file,)


def test_regions_are_matched_by_name_and_what_is_left_over_is_listed() -> None:
    cases = scored(("a", ""), ("a", "Core 1"), ("a", "core 3"), ("b", ""))
    found = match(cases, [result("a.svs", "", "core 1", "core 2"), result("c.svs", "x")])
    assert found.values == {("a", ""): ModelValue(0.0, 0), ("a", "Core 1"): ModelValue(1.0, 1)}
    assert [r.slide for r in found.results] == ["a.svs"]
    assert found.slides_without_results == ("b",)
    assert found.results_without_scores == ("c.svs",)
    assert found.cases_without_values == (("a", "core 3"),)
    assert found.regions_without_scores == (("a", "core 2"),)


@pytest.mark.parametrize(
    "results",
    [
        [result("a.svs"), result("a.tif", fingerprint=Y)],
        [result("a.svs"), result("a", fingerprint=Y)],
        [result("a.svs"), result("a.svs", below="again")],
    ],
    ids=["two formats", "with and without suffix", "graded twice"],
)
def test_several_results_of_a_slide_are_an_error(results: list[SlideResult]) -> None:
    with pytest.raises(DataError, match="the slide a, found several") as caught:
        match(scored(("a", "")), results)
    assert all(str(result.folder) in str(caught.value) for result in results)


def test_results_of_two_files_of_one_name_are_an_error_that_names_both() -> None:
    results = [result("a.svs"), result("a.svs", below="clinic B", fingerprint=Y)]
    with pytest.raises(DataError, match=r"add a column fingerprint") as caught:
        match(scored(("a.svs", "")), results)
    for one, begin in zip(results, ("11111111", "22222222"), strict=True):
        assert f"{one.folder} ({begin})" in str(caught.value)


def test_a_fingerprint_tells_files_of_one_name_apart() -> None:
    results = [result("a.svs"), result("a.svs", "", "core", below="clinic B", fingerprint=Y)]
    found = match([Score("a.svs", "core", "anna", 2, Y)], results)
    assert found.results == (results[1],)
    assert found.values == {("a.svs", "core"): ModelValue(1.0, 1)}
    assert found.results_without_scores == ("a.svs",)


def test_a_fingerprint_knows_a_slide_under_another_name() -> None:
    found = match([Score("anonymous 7.svs", "", "anna", 2, X)], [result("a.svs")])
    assert found.values == {("anonymous 7.svs", ""): ModelValue(0.0, 0)}


def test_a_result_of_another_file_of_that_name_is_not_taken_and_told() -> None:
    found = match([Score("a", "", "anna", 2, Y)], [result("a.svs")])
    assert (found.values, found.results) == ({}, ())
    assert found.slides_without_results == found.results_of_other_files == ("a",)
    assert found.results_without_scores == ("a.svs",)


def test_so_it_is_where_several_scored_files_share_the_name() -> None:
    marked = (f"a.svs ({X[:8]})", f"a.svs ({Y[:8]})")
    scores = [Score(name, "", "anna", 2, one) for name, one in zip(marked, (X, Y), strict=True)]
    found = match(scores, [result("a.svs", fingerprint="33" * 32)])
    assert found.slides_without_results == found.results_of_other_files == marked


@pytest.mark.parametrize(
    ("fingerprint", "second"), [("", "a.svs"), (X, "a.svs"), (X, "copy of a.svs")]
)
def test_of_two_results_of_one_file_it_advises_to_name_one(fingerprint: str, second: str) -> None:
    results = [result("a.svs"), result(second, below="again")]
    with pytest.raises(
        DataError, match=r"found several of this one file: .*name only one"
    ) as caught:
        match([Score("a", "", "anna", 2, fingerprint)], results)
    assert "suffix" not in str(caught.value)
    assert "column" not in str(caught.value)


def test_one_result_for_two_names_is_an_error() -> None:
    scores = [Score("a", "", "anna", 2), Score("b", "", "ben", 2, X)]
    with pytest.raises(DataError, match=r"slides a and b, found one for both: .*a\.svs"):
        match(scores, [result("a.svs")])


def test_slides_that_differ_in_suffix_alone_are_told_apart_by_it() -> None:
    found = match(
        scored(("a.svs", ""), ("a.tif", "")), [result("a.svs"), result("a.tif", fingerprint=Y)]
    )
    assert [r.slide for r in found.results] == ["a.svs", "a.tif"]


def test_results_of_two_models_are_an_error() -> None:
    results = [result("a.svs"), result("b.svs", sha256="4567")]
    with pytest.raises(DataError, match=r"by model 0123 and .* by model 4567"):
        match(scored(("a", ""), ("b", "")), results)
    assert match(scored(("a", "")), results).results == (results[0],)  # b is not compared
