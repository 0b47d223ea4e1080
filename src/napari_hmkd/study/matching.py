"""Which result belongs to which scores, and what is left over on either side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from napari_hmkd.errors import DataError
from napari_hmkd.study.model_results import SlideResult
from napari_hmkd.study.names import same_name, slide_names
from napari_hmkd.study.scores import WHOLE_SLIDE, Case, Score
from napari_hmkd.study.values import ModelValue


@dataclass(frozen=True, slots=True)
class Matches:
    """The model's values of the cases that were scored.

    Attributes
    ----------
    values : dict
        From the case, as the scores name it, to the model's value.
    results : tuple of SlideResult
        Those that belong to a scored slide.
    slides_without_results, results_without_scores : tuple of str
        Slides that only one side has.
    cases_without_values, regions_without_scores : tuple of (slide, region)
        On slides that both sides have.
    """

    values: dict[Case, ModelValue]
    results: tuple[SlideResult, ...]
    slides_without_results: tuple[str, ...]
    results_without_scores: tuple[str, ...]
    cases_without_values: tuple[Case, ...]
    regions_without_scores: tuple[Case, ...]


def match(scores: Sequence[Score], results: Sequence[SlideResult]) -> Matches:
    """Match scores and results by the slide's file name, with or without its suffix in the scores.

    Raises
    ------
    DataError
        If several results may belong to a slide, or the results are of several models.
    """
    cases = sorted({score.case for score in scores})
    slides = list(dict.fromkeys(slide for slide, _ in cases))
    matched = _by_slide(slides, results)
    _check_one_model(list(matched.values()))
    used = {result.folder for result in matched.values()}
    offered = {
        (slide, same_name(region)): ((slide, region), value)
        for slide, result in matched.items()
        for region, value in result.values.items()
    }
    wanted = {(slide, same_name(region)): (slide, region) for slide, region in cases}
    return Matches(
        values={case: offered[key][1] for key, case in wanted.items() if key in offered},
        results=tuple(matched.values()),
        slides_without_results=tuple(slide for slide in slides if slide not in matched),
        results_without_scores=tuple(r.slide for r in results if r.folder not in used),
        cases_without_values=tuple(
            case for key, case in wanted.items() if case[0] in matched and key not in offered
        ),
        regions_without_scores=tuple(
            case
            for key, (case, _) in offered.items()
            if key not in wanted and case[1] != WHOLE_SLIDE
        ),
    )


def _by_slide(slides: Sequence[str], results: Sequence[SlideResult]) -> dict[str, SlideResult]:
    """The one result of each slide that has any."""
    by_name: dict[str, list[SlideResult]] = defaultdict(list)
    for result in results:
        for name in slide_names(result.slide):
            by_name[name].append(result)
    found = {slide: by_name[same_name(slide)] for slide in slides if same_name(slide) in by_name}
    for slide, candidates in found.items():
        if len(candidates) > 1:
            folders = ", ".join(str(result.folder) for result in candidates)
            raise DataError(
                f"asked for the result of the slide {slide}, found several: {folders}; write the "
                "slide's file name with its suffix in the scores, or name fewer result folders"
            )
    return {slide: candidates[0] for slide, candidates in found.items()}


def _check_one_model(results: Sequence[SlideResult]) -> None:
    for result in results[1:]:
        first = results[0]
        if result.sha256 != first.sha256:
            raise DataError(
                f"asked to compare readers with one model, but {first.folder} is by {first.model} "
                f"and {result.folder} by {result.model}, with other weights: name results of one "
                "model"
            )
