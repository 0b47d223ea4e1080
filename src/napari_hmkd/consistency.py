"""Whether the numbers of results follow from the tiles' probabilities, as they did when they were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from PIL import Image
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from napari_hmkd.export.pages import flat
from napari_hmkd.export.regions import SHARE_THAT_COUNTS, left_in, summary_entries
from napari_hmkd.export.tissue import TISSUE_FILE
from napari_hmkd.heatmap import Heatmap, SlideSummary, expected
from napari_hmkd.inference import FailedTile, GradedBatch
from napari_hmkd.model import ModelCard
from napari_hmkd.model.stages import GRADES
from napari_hmkd.planning import (
    GradePlan,
    GradeSettings,
    PlannedRegion,
    tile_grid,
    tissue_fraction,
)
from napari_hmkd.regions import MarkedRegion, invasive_tumour, quoted
from napari_hmkd.result_files import MeanGrade, Pair, Part, ResultFiles, Share, Summary, TilesEntry
from napari_hmkd.slide import Slide, TissueMask, check_stain
from napari_hmkd.wording import counted

_LAST_DIGIT = 1e-6
"""Of a probability in `tiles.csv`; grades of squares and sets may turn on it."""
_ROUNDING = 1e-5


class _Grade(Part):
    area_mm2: NonNegativeFloat
    share: Share


class Totals(Part):
    """What `summary_entries` writes of the slide and of each region."""

    # From 0 to 3+, as the model's card calls them.
    grades: Annotated[dict[str, _Grade], Field(min_length=GRADES, max_length=GRADES)]
    graded_tissue_mm2: NonNegativeFloat
    graded_tiles: NonNegativeInt
    undecided_tiles: NonNegativeInt | None
    expected_grade: MeanGrade | None
    grade_of_most_area: str | None

    @property
    def areas(self) -> SlideSummary:
        """The summary whose areas these are; what follows from areas follows from the stated ones."""
        area = tuple(one.area_mm2 for one in self.grades.values())
        total = sum(area)
        share = tuple(one / total if total else 0.0 for one in area)
        return SlideSummary(
            area, share, self.graded_tiles, 0, self.expected_grade, self.undecided_tiles
        )


class _Region(Totals):
    name: str
    tiles_left: NonNegativeInt
    unreadable_tiles: NonNegativeInt

    @property
    def of_what(self) -> str:
        return f"of the region '{self.name}', "


class _SlideGrade(Part):
    grade: str | None
    region: str | None


class _Tissue(Part):
    mpp: Pair


class _Tiles(TilesEntry):
    min_tissue_fraction: Annotated[float, Field(gt=0, le=1)]
    only_in_regions: bool


class _Stain(Part):
    kind: str


class _Outline(Part):
    name: str
    outline_sha256: str


class _Request(Part):
    regions: list[_Outline]


class CheckedSummary(Totals, Summary):
    """What of `summary.json` follows from the tiles, and what is needed to tell."""

    stain: _Stain
    tissue: _Tissue | None
    tiles: _Tiles
    complete: bool
    request: _Request
    regions: list[_Region]
    slide_grade: _SlideGrade


AnyChecked = TypeVar("AnyChecked", bound=CheckedSummary)


def table_problems(found: ResultFiles[Any]) -> list[str]:
    """Which columns of `tiles.csv` do not follow from `p_0` to `p_3`, for people.

    A grade counts as the most probable one where the six digits of the probabilities allow it.
    """
    p = found.probabilities
    own = p[np.arange(len(p)), found.grade]
    wrong = {
        "p_0 to p_3": np.abs(p.sum(axis=1) - 1) > _ROUNDING,
        "grade": own < p.max(axis=1, initial=0),
        "expected_grade": np.abs(expected(p) - found.expected_grade) > _ROUNDING,
    }
    words = {"p_0 to p_3": "do not add up to 1"}
    return [
        f"{name} of {counted(tiles.sum(), 'tile')} {words.get(name, 'is not what their probabilities say')}, the "
        f"first of them tile {', '.join(map(str, found.tiles[tiles.argmax()]))}"
        for name, tiles in wrong.items()
        if tiles.any()
    ]


def not_recomputed(said: CheckedSummary, regions: Sequence[MarkedRegion]) -> list[str]:
    """Which numbers `summary_problems` cannot tell of: regions' whose outlines are not given, for people."""
    if regions or not said.regions:
        return []
    left = "; and whether all tiles were tried" if said.tiles.only_in_regions else ""
    return [
        f"what of the tiles lies in the regions {quoted(said.regions)}, and so their areas and the grade of "
        f"the slide{left}: results do not hold outlines; give the file that they are from (--regions)"
    ]


def summary_problems(
    folder: Path,
    found: ResultFiles[AnyChecked],
    slide: Slide,
    card: ModelCard,
    regions: Sequence[MarkedRegion] = (),
) -> list[str]:
    """What in `summary.json` does not follow from slide, `tiles.csv` and `tissue.png`, for people.

    Parameters
    ----------
    folder : Path
        Of the results.
    found : ResultFiles
        What they say.
    slide : Slide
        The slide that they are of.
    card : ModelCard
        Of the model that they are of.
    regions : sequence of MarkedRegion
        Those of the results, whose outlines results do not hold. Where they are left out, it is told of
        regions what does not follow from their areas; see `not_recomputed`.

    Raises
    ------
    OSError
        `tissue.png` cannot be read.
    """
    said = found.summary
    plan = _plan(folder, said, slide, card, regions)
    if (said.tiles.rows, said.tiles.columns) != (plan.grid.rows, plan.grid.columns):
        return [f"summary.json: the slide has {plan.grid.rows} x {plan.grid.columns} tiles"]
    heatmap = Heatmap(plan)
    failed = tuple(FailedTile(one.row, one.column, one.reason) for one in said.unreadable_tiles)
    heatmap.update(GradedBatch(found.tiles, found.probabilities.astype(np.float32), failed))
    problems = [*_not_from_areas(said, ""), *_not_from_tiles(said, "", heatmap, plan)]
    problems += [*_wrong_regions(said, heatmap, plan), *_wrong_slide_grade(said)]
    problems += _wrong_stain(said, plan)
    if regions or not said.tiles.only_in_regions:
        problems += _unlike("complete", said.complete, not len(heatmap.remaining))
    return [f"summary.json: {one}" for one in problems]


def _not_from_areas(said: Totals, of_what: str) -> Iterator[str]:
    follows = flat(summary_entries(said.areas, tuple(said.grades)))
    stated = flat(said.model_dump())
    for name, one in follows.items():
        yield from _unlike(of_what + name, stated[name], one)


def _not_from_tiles(
    said: Totals,
    of_what: str,
    heatmap: Heatmap,
    plan: GradePlan,
    fraction: np.ndarray | None = None,
) -> Iterator[str]:
    """Of the slide, or of a region that is so much of each square."""
    now = heatmap.summary(fraction)
    second, first = np.sort(heatmap.probabilities, axis=-1)[..., 2:].transpose(2, 0, 1)
    on_edge = first - second < 2 * _LAST_DIGIT
    tissue_mm2 = plan.grid.area_mm2(plan.tissue_fraction if fraction is None else fraction)
    slack_mm2 = tissue_mm2[on_edge].sum()
    for (name, one), area_mm2 in zip(said.grades.items(), now.area_mm2, strict=True):
        yield from _unlike(f"{of_what}grades.{name}.area_mm2", one.area_mm2, area_mm2, slack_mm2)
    yield from _unlike(f"{of_what}graded_tiles", said.graded_tiles, now.graded_tiles)
    yield from _unlike(f"{of_what}expected_grade", said.expected_grade, now.expected_grade)
    near = np.zeros(0)
    if thresholds := plan.card.conformal_thresholds:
        near = (np.abs(heatmap.answers - np.array(thresholds)) < _LAST_DIGIT).any(axis=-1)
    undecided = said.undecided_tiles, now.undecided_tiles
    yield from _unlike(f"{of_what}undecided_tiles", *undecided, near.sum())


def _wrong_regions(said: CheckedSummary, heatmap: Heatmap, plan: GradePlan) -> Iterator[str]:
    """Of their areas and, where the plan has them, of the tiles."""
    asked = [one.name for one in said.request.regions]
    yield from _unlike("regions", [one.name for one in said.regions], asked)
    for region in said.regions:
        yield from _not_from_areas(region, region.of_what)
    for region, planned in zip(said.regions, plan.regions, strict=False):
        fraction, of_what = planned.tissue_fraction, region.of_what
        yield from _not_from_tiles(region, of_what, heatmap, plan, fraction)
        failed = heatmap.summary(fraction).failed_tiles
        yield from _unlike(f"{of_what}unreadable_tiles", region.unreadable_tiles, failed)
        left = left_in(plan, heatmap, planned)
        yield from _unlike(f"{of_what}tiles_left", region.tiles_left, left)


def _wrong_slide_grade(said: CheckedSummary) -> Iterator[str]:
    tumour, grade = invasive_tumour(said.regions), None
    if tumour is not None and not tumour.tiles_left:
        above = tumour.areas.highest_above(SHARE_THAT_COUNTS)
        grade = None if above is None else list(tumour.grades)[above]
    name = None if tumour is None else tumour.name
    yield from _unlike("slide_grade.region", said.slide_grade.region, name)
    yield from _unlike("slide_grade.grade", said.slide_grade.grade, grade)


def _wrong_stain(said: CheckedSummary, plan: GradePlan) -> Iterator[str]:
    # The glass is measured otherwise where the tissue was given, which results do not tell.
    if said.stain.kind != plan.stain.kind:
        yield from _unlike("stain.kind", said.stain.kind, check_stain(plan.slide).kind)


def _unlike(name: str, said: object, follows: object, slack: float = 0.0) -> Iterator[str]:
    """A sentence if a value is not the one that follows, but for rounding and a slack."""
    same = said == follows
    if isinstance(said, int | float) and isinstance(follows, int | float):
        counts = isinstance(said, int) and isinstance(follows, int)
        rounding = 0.0 if counts else _ROUNDING * max(1.0, abs(follows))
        same = abs(said - follows) <= slack + rounding
    if not same:
        yield f"{name} is {said}, and what it is taken from says {follows}"


def _plan(
    folder: Path,
    said: CheckedSummary,
    slide: Slide,
    card: ModelCard,
    regions: Sequence[MarkedRegion],
) -> GradePlan:
    """The plan, but for its warnings."""
    grid = tile_grid(slide, card, said.tiles.overlap)
    tissue = None if said.tissue is None else _mask(folder / TISSUE_FILE, said.tissue.mpp, slide)
    return GradePlan(
        slide=slide,
        card=card,
        settings=GradeSettings(
            min_tissue_fraction=said.tiles.min_tissue_fraction,
            stride=1 / said.tiles.overlap,
            only_regions=said.tiles.only_in_regions and bool(regions),
        ),
        grid=grid,
        stain=check_stain(slide, tissue),
        tissue=tissue,
        tissue_fraction=tissue_fraction(grid, tissue),
        enlargement=slide.enlargement(card.mpp),
        warnings=(),
        regions=tuple(PlannedRegion(one, one.tissue_fraction(grid, tissue)) for one in regions),
    )


def _mask(path: Path, mpp: tuple[float, float], slide: Slide) -> TissueMask:
    """The mask that `write_tissue` wrote."""
    with Image.open(path) as picture:
        mask = np.asarray(picture.convert("L")) > 127
    downsample = slide.size.height / mask.shape[0], slide.size.width / mask.shape[1]
    return TissueMask(mask, mpp, downsample)
