"""Which result belongs to which scores, and what is left over on either side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from napari_hmkd.errors import DataError
from napari_hmkd.study.identity import SHOWN, name_in_table
from napari_hmkd.study.model_results import SlideResult
from napari_hmkd.study.names import slide_names
from napari_hmkd.study.scores import WHOLE_SLIDE, Case, Score
from napari_hmkd.study.values import ModelValue
from napari_hmkd.wording import same_name


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
    results_of_other_files : tuple of str
        Of those slides, which have their name on both sides, but not their fingerprint.
    cases_without_values, regions_without_scores : tuple of (slide, region)
        On slides that both sides have.
    """

    values: dict[Case, ModelValue]
    results: tuple[SlideResult, ...]
    slides_without_results: tuple[str, ...]
    results_without_scores: tuple[str, ...]
    results_of_other_files: tuple[str, ...]
    cases_without_values: tuple[Case, ...]
    regions_without_scores: tuple[Case, ...]


def match(scores: Sequence[Score], results: Sequence[SlideResult]) -> Matches:
    """Match scores and results by the slide's fingerprint where the scores have it.

    Without one they are matched by the slide's file name, with or without its suffix in the scores.

    Raises
    ------
    DataError
        If several results may belong to a slide, one result belongs to two, or the results are of
        several models.
    """
    cases = sorted({score.case for score in scores})
    slides = {score.slide: score.fingerprint for score in sorted(scores, key=lambda one: one.case)}
    by_name = _by_name(results)
    matched = _by_slide(slides, results, by_name)
    _check_one_model(list(matched.values()))
    used = {result.folder for result in matched.values()}
    without = tuple(slide for slide in slides if slide not in matched)
    values = {
        (slide, region): value
        for slide, result in matched.items()
        for region, value in result.values.items()
    }
    wanted, offered = _by_key(cases), _by_key(values)
    return Matches(
        values={wanted[key]: values[offered[key]] for key in wanted if key in offered},
        results=tuple(matched.values()),
        slides_without_results=without,
        results_without_scores=tuple(r.slide for r in results if r.folder not in used),
        results_of_other_files=tuple(
            slide for slide in without if same_name(name_in_table(slide, slides[slide])) in by_name
        ),
        cases_without_values=tuple(
            case for key, case in wanted.items() if case[0] in matched and key not in offered
        ),
        regions_without_scores=tuple(
            case for key, case in offered.items() if key not in wanted and case[1] != WHOLE_SLIDE
        ),
    )


def _by_key(cases: Iterable[Case]) -> dict[Case, Case]:
    """Cases by what is the same of them on both sides."""
    return {(slide, same_name(region)): (slide, region) for slide, region in cases}


def _by_name(results: Sequence[SlideResult]) -> dict[str, list[SlideResult]]:
    by_name = defaultdict(list)
    for result in results:
        for name in slide_names(result.slide):
            by_name[name].append(result)
    return dict(by_name)


def _by_slide(
    slides: Mapping[str, str],
    results: Sequence[SlideResult],
    by_name: Mapping[str, list[SlideResult]],
) -> dict[str, SlideResult]:
    """The one result of each slide that has any; slides by name, with their fingerprints."""
    found: dict[str, SlideResult] = {}
    for slide, fingerprint in slides.items():
        if fingerprint:
            candidates = [result for result in results if result.fingerprint == fingerprint]
        else:
            candidates = by_name.get(same_name(slide), [])
        if len(candidates) > 1:
            raise DataError(_several(slide, candidates))
        for result in candidates:
            if other := next((one for one, its in found.items() if its is result), None):
                raise DataError(
                    f"asked for the results of the slides {other} and {slide}, found one for both: "
                    f"{result.folder}; give them one name in the scores"
                )
            found[slide] = result
    return found


def _several(slide: str, candidates: Sequence[SlideResult]) -> str:
    """What to say, and to do, where several results may be a slide's."""
    if len({result.fingerprint for result in candidates}) == 1:
        folders = ", ".join(str(result.folder) for result in candidates)
        return (
            f"asked for the result of the slide {slide}, found several of this one file: {folders}; name only "
            "one of these folders, or move the others out of the folder that is named"
        )
    folders = ", ".join(f"{r.folder} ({r.fingerprint[:SHOWN]})" for r in candidates)
    return (
        f"asked for the result of the slide {slide}, found several, here with how their slides' "
        f"fingerprints begin: {folders}; write the slide's file name with its suffix in the scores, "
        "add a column fingerprint as summary.json has it, or name fewer result folders"
    )


def _check_one_model(results: Sequence[SlideResult]) -> None:
    for result in results[1:]:
        first = results[0]
        if result.sha256 != first.sha256:
            raise DataError(
                f"asked to compare readers with one model, but {first.folder} is by {first.model} "
                f"and {result.folder} by {result.model}, with other weights: name results of one "
                "model"
            )
