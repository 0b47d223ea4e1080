"""Many slides, each graded to its folder; `workers` does it in several processes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from napari_hmkd.errors import HmkdError, unforeseen
from napari_hmkd.export import write_results
from napari_hmkd.export.contents import is_whole
from napari_hmkd.export.request import request_entry
from napari_hmkd.export.summary import NAMES, read_summary
from napari_hmkd.geometry import Origin
from napari_hmkd.grading import OpenModel, SlideGrading, open_model, result_key, start_grading
from napari_hmkd.model import find_model
from napari_hmkd.planning import GradeSettings, opened_as_stated, tile_grid
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.slide import Slide
from napari_hmkd.slide.backends.pixel_size import USER

_LOG = logging.getLogger(__name__)
Watch = Callable[[SlideGrading], AbstractContextManager[Callable[[int], None]]]


class Status(StrEnum):
    """What became of a slide."""

    GRADED = "graded"
    SKIPPED = "graded before"
    FAILED = "failed"


@dataclass(frozen=True)
class SlideJob:
    """One slide to be graded, as any process on any machine that sees its files can do it.

    Attributes
    ----------
    slide : str
        Path or address.
    folder : Path
        For its results.
    model : str
        Name or file of the student.
    settings : GradeSettings
        How to grade.
    mpp : float or None
        Micrometres per pixel as the user states them.
    backend : str or None
        The back end to insist on.
    regions : tuple of MarkedRegion
        Parts to sum up by themselves.
    kept_in : Path or None
        Where graded tiles are kept (`start_grading`). Without it every slide is graded anew.
    geojson_origin : {"slide", "file"}
        What `tiles.geojson` counts from.
    """

    slide: str
    folder: Path
    model: str
    settings: GradeSettings
    mpp: float | None = None
    backend: str | None = None
    regions: tuple[MarkedRegion, ...] = ()
    kept_in: Path | None = None
    geojson_origin: Origin = "slide"


@dataclass(frozen=True)
class SlideOutcome:
    """A job that is done.

    Attributes
    ----------
    job : SlideJob
    status : Status
        A slide was graded before whose results are there already, complete and from the same job.
    message : str
        Why it failed; else empty.
    summary : dict
        Of a graded or skipped slide, what its `summary.json` holds.
    """

    job: SlideJob
    status: Status
    message: str
    summary: dict[str, Any]


def grade_to_folder(job: SlideJob, watch: Watch | None = None) -> SlideOutcome:
    """Do a job; a slide that cannot be graded is an outcome, too.

    Parameters
    ----------
    job : SlideJob
    watch : callable, optional
        Takes the grading before it runs, and gives a context that yields a function, which is called
        with the number of tiles of each batch.
    """
    try:
        with opened_as_stated(job.slide, job.backend, job.mpp) as (slide, notes):
            model = _model(job.model)
            if (done := _finished(job, slide, model)) is not None:
                return SlideOutcome(job, Status.SKIPPED, "", done)
            grading = start_grading(
                slide, model, job.settings, regions=job.regions, kept_in=job.kept_in
            )
            grading.notes += notes
            with watch(grading) if watch else nullcontext(lambda _tiles: None) as advance:
                for batch in grading.run():
                    advance(len(batch.tiles) + len(batch.failed))
            summary = write_results(grading, job.folder, job.geojson_origin)
    except HmkdError as error:
        return SlideOutcome(job, Status.FAILED, str(error), {})
    except Exception as error:  # one slide's bad luck is not the others'
        return SlideOutcome(job, Status.FAILED, unforeseen(job.slide, error, _LOG), {})
    return SlideOutcome(job, Status.GRADED, "", summary)


@lru_cache(maxsize=2)
def _opened(name: str, _changed_ns: int) -> OpenModel:
    return open_model(name)


def _model(name: str) -> OpenModel:
    """A student, kept open from slide to slide until its file changes."""
    return _opened(name, find_model(name).stat().st_mtime_ns)


def _finished(job: SlideJob, slide: Slide, model: OpenModel) -> dict[str, Any] | None:
    """The summary of results that are there already, complete, of this job.

    What could not be read is tried again, what was painted or forced is another's decision, and of a
    summary that lacks an entry no row can be made. A pixel size that was stated for a slide without one
    still counts.
    """
    found = read_summary(job.folder)
    if job.kept_in is None or found is None or not is_whole(job.folder, found):
        return None
    said = found.get("slide") or {}
    if slide.mpp is None and said.get("mpp_source") == USER:
        slide = slide.with_mpp(said["mpp"][0])
    grid = tile_grid(slide, model.card, job.settings.overlap)
    asked = {
        "complete": True,
        "unreadable_tiles": [],
        "key": result_key(slide, grid, model, job.settings),
        "request": request_entry(job.settings, job.regions, False, job.geojson_origin),
    }
    return found if found | asked == found and found.keys() >= NAMES else None
