"""Painted slides, graded: what the exported files are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import pytest

from napari_hmkd.grading import OpenModel, SlideGrading, start_grading
from napari_hmkd.planning import GradeSettings
from napari_hmkd.slide import open_slide

SLIDE_NAME = "Gewebe ü.tif"


@pytest.fixture
def grade_painted(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> Iterator[Callable[..., SlideGrading]]:
    """Paint a slide and grade it, all or so many batches of two tiles; it stays open."""
    with ExitStack() as slides:

        def grade(
            grades: list[list[int]],
            damaged: Sequence[tuple[int, int]] = (),
            mpp: float | None = None,
            batches: int | None = None,
            model: OpenModel = colour_model,
        ) -> SlideGrading:
            path = paint_slide(tmp_path / SLIDE_NAME, grades, damaged=damaged)
            slide = slides.enter_context(open_slide(path, mpp=mpp))
            grading = start_grading(slide, model, GradeSettings(batch_size=2))
            list(islice(grading.run(), batches))
            return grading

        yield grade
