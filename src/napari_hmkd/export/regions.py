"""What `summary.json` says about marked regions, and the grade by area of marked invasive tumour."""

from __future__ import annotations

import numpy as np

from napari_hmkd.grading import SlideGrading
from napari_hmkd.heatmap import Heatmap, SlideSummary
from napari_hmkd.planning import GradePlan, PlannedRegion
from napari_hmkd.regions import INVASIVE_TUMOUR, MarkedRegion, invasive_tumour, quoted
from napari_hmkd.wording import NO_SCORE, counted

SHARE_THAT_COUNTS = 0.1
"""ASCO/CAP 2018 asks for more than 10 % of cells; here it is asked of area."""

RULE = (
    "the highest grade whose own and higher tiles exceed 10 % of the graded tissue of the marked "
    "invasive tumour"
)
NOT_RESTRICTED = "not restricted to invasive tumour"


def summary_entries(summary: SlideSummary, names: tuple[str, ...]) -> dict[str, object]:
    """A summary as plain values for JSON; the grades by name."""
    most = summary.grade_of_most_area
    by_grade = zip(names, summary.area_mm2, summary.share, strict=True)
    return {
        "grades": {name: {"area_mm2": area, "share": share} for name, area, share in by_grade},
        "graded_tissue_mm2": sum(summary.area_mm2),
        "graded_tiles": summary.graded_tiles,
        "undecided_tiles": summary.undecided_tiles,
        "expected_grade": summary.expected_grade,
        "grade_of_most_area": None if most is None else names[most],
    }


def region_entries(grading: SlideGrading) -> list[dict[str, object]]:
    """Each marked region with its name and its summary."""
    entries = []
    for one in grading.plan.regions:
        summary = grading.heatmap.summary(one.tissue_fraction)
        entries.append(
            {
                "name": one.region.name,
                "tiles_left": left_in(grading.plan, grading.heatmap, one),
                "unreadable_tiles": summary.failed_tiles,
                **summary_entries(summary, grading.plan.card.class_names),
            }
        )
    return entries


def slide_grade(grading: SlideGrading) -> dict[str, object]:
    """The grade of the marked invasive tumour by area, and what to know about it or why there is none."""
    marked = [one.region for one in grading.plan.regions]
    chosen = invasive_tumour(marked)
    tumour = next((one for one in grading.plan.regions if one.region is chosen), None)
    found, reason = None, ""
    if tumour is None:
        reason = _why_no_tumour(marked)
    elif left := left_in(grading.plan, grading.heatmap, tumour):
        reason = f"left without a grade: {counted(left, 'tile')} of the marked invasive tumour"
    else:
        summary = grading.heatmap.summary(tumour.tissue_fraction)
        found = summary.highest_above(SHARE_THAT_COUNTS)
        reason = "" if found is not None else "the marked invasive tumour has no graded tissue"
        if found is not None and summary.failed_tiles:
            reason = f"{summary.failed_tiles} of its tiles could not be read and do not count"
    return {
        "grade": None if found is None else grading.plan.card.class_names[found],
        "region": None if chosen is None else chosen.name,
        "rule": RULE,
        "meaning": NO_SCORE,
        "reason": reason,
    }


def _why_no_tumour(marked: list[MarkedRegion]) -> str:
    if not marked:
        return f"{NOT_RESTRICTED}: no region was marked"
    return f"{NOT_RESTRICTED}: no region is called '{INVASIVE_TUMOUR}'; marked: {quoted(marked)}"


def left_in(plan: GradePlan, heatmap: Heatmap, planned: PlannedRegion) -> int:
    """Tiles with tissue of a region that were not tried."""
    fraction = plan.of_tiles(planned.tissue_fraction)
    return int(np.count_nonzero(fraction[tuple(heatmap.remaining.T)] > 0))
