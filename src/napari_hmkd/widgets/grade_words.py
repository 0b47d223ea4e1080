"""What the panel says about a grading while it runs and when it has ended."""

from __future__ import annotations

from pathlib import Path

from napari_hmkd.grading import SlideGrading
from napari_hmkd.wording import counted

NOTHING_TO_SAVE = "There is no finished or stopped grading to save."
NEVER_BEGAN = "Stopped before the first tile."
HEATMAP_REMOVED = "Stopped: the heatmap was removed."


def progress_words(grading: SlideGrading | None, tried: int, planned: int, speed: float) -> str:
    """How far a grading is, at `speed` tiles a second, and what it last had to do otherwise than asked for."""
    far = f"{tried} of {planned} tiles, {speed:.1f} tiles/s"
    unasked = () if grading is None else (*grading.grader.notes, *grading.notes)
    return f"{far}. {unasked[-1]}" if unasked else far


def saved_words(folder: Path, other_regions: bool, other_tissue: bool) -> str:
    """Where results were saved, and what of the slide is another now than when it was graded."""
    changed = [
        what
        for what, other in (
            ("regions as they were graded", other_regions),
            ("tissue as it was graded", other_tissue),
        )
        if other
    ]
    more = (
        f", with the {' and the '.join(changed)}: for those of now, press Grade HER2 and save again"
    )
    return f"Saved to {folder}{more if changed else ''}"


def end_words(grading: SlideGrading, complete: bool, only_in_view: bool) -> str:
    """How far a grading came, as every tile was tried, or all in view, or it was stopped."""
    planned = len(grading.plan.tiles)
    tried = planned - len(grading.heatmap.remaining)
    failed = len(grading.heatmap.failed)
    unread = f", {failed} could not be read" if failed else ""
    if complete:
        before = f", {grading.resumed_tiles} graded before" if grading.resumed_tiles else ""
        return f"Done: {counted(tried, 'tile')} in {grading.seconds:.0f} s{before}{unread}"
    if only_in_view:
        return (
            f"What is in view is graded, {tried} of {planned} tiles{unread}. Move on, press Stop, or untick "
            "the box and press the button for the rest."
        )
    return f"Stopped at {tried} of {planned} tiles{unread}"
