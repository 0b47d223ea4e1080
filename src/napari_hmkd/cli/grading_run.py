"""The grading of the command line, exactly as the button does it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import typer

from napari_hmkd.cli.options import complain
from napari_hmkd.cli.progress import tile_progress, told_when_stopped
from napari_hmkd.cli.slides import slides_meant
from napari_hmkd.cohort import SlideJob, SlideOutcome, Status, grade_to_folder
from napari_hmkd.device import choose_device
from napari_hmkd.errors import ExitCode, SlideError
from napari_hmkd.export import result_folders
from napari_hmkd.export.cohort import COHORT, cohort_row
from napari_hmkd.export.earlier_rows import SharedTable
from napari_hmkd.geometry import Origin
from napari_hmkd.grading import SlideGrading, open_model
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import read_regions
from napari_hmkd.wording import counted
from napari_hmkd.workers import grade_with_workers


def make_jobs(
    slides: Sequence[str],
    out: Path,
    *,
    sample: bool,
    model: str,
    settings: GradeSettings,
    mpp: float | None,
    backend: str | None,
    regions: Path | None,
    kept_in: Path | None,
    geojson_origin: Origin,
) -> list[SlideJob]:
    """What is to be done, checked as far as it can be before a slide is opened.

    Parameters
    ----------
    slides : sequence of str
        As `slides_meant` takes them.
    out : Path
        Folder for the results, one subfolder per slide.
    sample : bool
        Grade the sample slide, too.
    regions : Path or None
        A file for `read_regions`.
    model, settings, mpp, backend, kept_in, geojson_origin
        As in `SlideJob`.

    Raises
    ------
    HmkdError
        If the device, the model, the folder, the regions or a slide is missing.
    """
    choose_device(settings.device)
    open_model(model)
    paths = slides_meant(slides, sample)
    if regions is not None and len(paths) > 1:
        raise SlideError(
            f"asked to grade several slides with the regions of {regions}, which are those of one; grade "
            "the slides one by one, each with its own"
        )
    marked = () if regions is None else read_regions(regions)
    folders = result_folders(out, [Path(path) for path in paths])
    student = os.path.abspath(model) if os.path.isfile(model) else model  # else a name
    return [
        SlideJob(
            path, folder.absolute(), student, settings, mpp, backend, marked, kept_in,
            geojson_origin,
        )
        for path, folder in zip(paths, folders, strict=True)
    ]  # fmt: skip


def grade_jobs(
    jobs: Sequence[SlideJob], out: Path, workers: int, scheduler: str | None
) -> ExitCode:
    """Do jobs and tell what comes of each; of several slides write a table and a page, too.

    A table that is there already keeps the rows of other slides, and one slide alone is entered in it.

    Returns
    -------
    The worst of the slides' exit codes; every message has been printed.

    Raises
    ------
    OutputError
        If there is a table that cannot be read; nothing has been graded then.
    """
    table = SharedTable(out, COHORT, [job.slide for job in jobs])
    workers = min(workers, len(jobs))  # each has its share of the cores
    apart = workers > 1 or scheduler is not None
    if apart:
        outcomes = grade_with_workers(jobs, workers, scheduler)
    else:
        outcomes = (grade_to_folder(job, _watch) for job in jobs)
    codes, unwritten = [ExitCode.GOOD], None
    done: list[SlideJob] = []
    told = _told_when_stopped(jobs, done) if apart or len(jobs) > 1 else nullcontext()
    with told, closing(outcomes):
        for outcome in outcomes:
            done.append(outcome.job)  # first: who has read of it may press Ctrl-C
            codes.append(_tell(outcome))
            row = cohort_row(outcome.job.slide, outcome.status, outcome.message, outcome.summary)
            unwritten = table.add([row])
    if unwritten is not None:
        complain(unwritten)
        codes.append(ExitCode.FAILED)
    return ExitCode.worst(codes)


@contextmanager
def _told_when_stopped(jobs: Sequence[SlideJob], done: Sequence[SlideJob]) -> Iterator[None]:
    """Say, when Ctrl-C ends the work, how many slides are done."""
    try:
        yield
    except KeyboardInterrupt:
        after = ", and the same command goes on from there" if jobs[0].kept_in else ""
        share = f"{len(done)} of {counted(len(jobs), 'slide')}"
        typer.echo(f"stopped; {share} done{after}", err=True)
        raise


@contextmanager
def _watch(grading: SlideGrading) -> Iterator[Callable[[int], None]]:
    name = grading.plan.slide.name
    if grading.resumed_tiles:
        typer.echo(f"{name}: {grading.resumed_tiles} tiles were graded before", err=True)

    def kept_tiles() -> int:
        return 0 if grading.store is None else int(grading.heatmap.graded_tiles.sum())

    with (
        told_when_stopped(name, kept_tiles),
        tile_progress(name, len(grading.heatmap.remaining)) as advance,
    ):
        yield advance


def _tell(outcome: SlideOutcome) -> ExitCode:
    if outcome.status is Status.FAILED:
        complain(outcome.message)
        return ExitCode.FAILED
    summary, folder = outcome.summary, outcome.job.folder
    for line in (one for one in summary["warnings"] if one != summary["notice"]):
        typer.echo(f"warning: {summary['slide']['name']}: {line}", err=True)
    before = ", graded before" if outcome.status is Status.SKIPPED else ""
    grade = _slide_grade(summary["slide_grade"])
    typer.echo(f"{folder}: {_areas(summary)}{before}; {grade}; research use only")
    for region in summary["regions"]:
        typer.echo(f"  region '{region['name']}': {_areas(region)}")
    if summary["notice"]:
        typer.echo(f"notice: {summary['notice']}", err=True)
    return ExitCode.UNREADABLE_TILES if summary["unreadable_tiles"] else ExitCode.GOOD


def _areas(summary: dict[str, Any]) -> str:
    """Of a slide or a region."""
    grades = summary["grades"].items()
    areas = ", ".join(f"{name}: {g['area_mm2']:.2f} mm2 ({g['share']:.0%})" for name, g in grades)
    return f"{areas}; {counted(summary['graded_tiles'], 'tile')}"


def _slide_grade(stated: dict[str, Any]) -> str:
    if stated["grade"] is None:
        return f"no grade of the slide: {stated['reason']}"
    reason = f"; {stated['reason']}" if stated["reason"] else ""
    return (
        f"grade of the region '{stated['region']}': {stated['grade']}, {stated['meaning']}{reason}"
    )
