"""The grading of the command line, exactly as the button does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import typer

from napari_hmkd.cli.options import ExitCode, complain
from napari_hmkd.cli.progress import share_progress, tile_progress
from napari_hmkd.device import choose_device
from napari_hmkd.errors import HmkdError
from napari_hmkd.export import result_folders, write_results
from napari_hmkd.grading import OpenModel, SlideGrading, open_model, start_grading
from napari_hmkd.planning import GradeSettings
from napari_hmkd.sample import sample_slide
from napari_hmkd.slide import Slide, open_slide

_WORSE = list(ExitCode)  # from best to worst


def grade_slides(
    slides: Sequence[str],
    sample: bool,
    out: Path,
    model: str,
    settings: GradeSettings,
    mpp: float | None = None,
    backend: str | None = None,
) -> ExitCode:
    """Grade slides one by one and write each one's results.

    Parameters
    ----------
    slides : sequence of str
        Paths and addresses.
    sample : bool
        Grade the sample slide, too.
    out : Path
        Folder for the results, one subfolder per slide.
    model : str
        Name or file of a student.
    settings : GradeSettings
        How to grade.
    mpp : float, optional
        Micrometres per pixel as the user states them, for all slides.
    backend : str, optional
        The back end to insist on.

    Returns
    -------
    The worst of the slides' exit codes; every message has been printed.
    """
    try:
        choose_device(settings.device)
        student = open_model(model)
        paths = [*slides, *([_sample()] if sample else ())]
        folders = result_folders(out, [Path(path) for path in paths])
    except HmkdError as error:
        complain(error)
        return ExitCode.FAILED
    codes = [
        _grade_one(path, folder, student, settings, mpp, backend)
        for path, folder in zip(paths, folders, strict=True)
    ]
    return max(codes, key=_WORSE.index)


def _sample() -> str:
    with share_progress("drawing the sample slide") as report:
        return str(sample_slide(report).he)


def _grade_one(
    path: str,
    folder: Path,
    student: OpenModel,
    settings: GradeSettings,
    mpp: float | None,
    backend: str | None,
) -> ExitCode:
    try:
        with open_slide(path, backend=backend) as slide:
            if mpp is not None:
                slide = _stated(slide, mpp)
            grading = start_grading(slide, student, settings)
            for warning in grading.plan.warnings:
                typer.echo(f"warning: {slide.name}: {warning}", err=True)
            with tile_progress(slide.name, len(grading.heatmap.remaining)) as advance:
                for batch in grading.run():
                    advance(len(batch.tiles) + len(batch.failed))
            write_results(grading, folder)
    except HmkdError as error:
        complain(error)
        return ExitCode.FAILED
    return _report(grading, folder)


def _stated(slide: Slide, mpp: float) -> Slide:
    """The slide at the pixel size that the user states, which wins over the file's, aloud."""
    if slide.mpp is not None and not np.allclose(slide.mpp, mpp, rtol=0.01):
        typer.echo(
            f"warning: {slide.name}: --mpp {mpp:g} is used, though the file says "
            f"{slide.mpp[0]:.4g} um/px ({slide.mpp_source})",
            err=True,
        )
    return slide.with_mpp(mpp)


def _report(grading: SlideGrading, folder: Path) -> ExitCode:
    summary, card = grading.heatmap.summary(), grading.plan.card
    by_grade = zip(card.class_names, summary.area_mm2, summary.share, strict=True)
    areas = ", ".join(f"{name}: {area:.2f} mm2 ({share:.0%})" for name, area, share in by_grade)
    typer.echo(f"{folder}: {areas}; {summary.graded_tiles} tiles; research use only")
    if card.notice:
        typer.echo(f"notice: {card.notice}", err=True)
    if not summary.failed_tiles:
        return ExitCode.GOOD
    typer.echo(
        f"warning: {folder.name}: {summary.failed_tiles} tiles could not be read; "
        "summary.json lists them",
        err=True,
    )
    return ExitCode.UNREADABLE_TILES
