"""`napari-hmkd-grade`: grade slides without a screen, exactly as the button does."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_hmkd.cli.progress import share_progress, tile_progress
from napari_hmkd.device import choose_device
from napari_hmkd.errors import HmkdError
from napari_hmkd.export import result_folders, write_results
from napari_hmkd.grading import OpenModel, SlideGrading, open_model, start_grading
from napari_hmkd.planning import GradeSettings
from napari_hmkd.sample import sample_slide
from napari_hmkd.slide import Slide, open_slide

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class ExitCode(IntEnum):
    """What the command returns; of several slides' codes the worst one."""

    GOOD = 0
    UNREADABLE_TILES = 3
    FAILED = 2


_WORSE = list(ExitCode)  # from best to worst


@app.command()
def grade(
    out: Annotated[Path, typer.Option(help="Folder for the results, one subfolder per slide.")],
    slides: Annotated[
        list[Path] | None, typer.Argument(metavar="SLIDE", help="Whole-slide images of H&E.")
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Grade the sample slide.")] = False,
    mpp: Annotated[
        float | None,
        typer.Option(
            help="Pixel size of level 0, um/px, where a file lacks it or is wrong; wins over it."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Name or file of a student.")] = "demo",
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:1, mps or cpu.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Tiles per run of the network.")] = 8,
    force: Annotated[
        bool, typer.Option("--force", help="Grade a slide that does not look like brightfield.")
    ] = False,
) -> None:
    """Grade HER2 on H&E slides: tiles.csv, summary.json and heatmap.png for each. Research use only.

    Exit code 0: all graded. 3: graded, but some tiles could not be read; summary.json lists them.
    2: a slide was not graded, and nothing was written for it.
    """
    if not slides and not sample:
        raise typer.BadParameter("give at least one SLIDE, or --sample")
    try:
        choose_device(device)
        student = open_model(model)
        settings = GradeSettings(batch_size=batch_size, device=device, force=force)
        paths = [*(slides or ()), *([_sample()] if sample else ())]
        folders = result_folders(out, paths)
    except HmkdError as error:
        _complain(error)
        raise typer.Exit(ExitCode.FAILED) from None
    codes = [
        _grade_one(path, folder, student, settings, mpp)
        for path, folder in zip(paths, folders, strict=True)
    ]
    raise typer.Exit(max(codes, key=_WORSE.index))


def _sample() -> Path:
    with share_progress("drawing the sample slide") as report:
        return sample_slide(report).he


def _grade_one(
    path: Path, folder: Path, student: OpenModel, settings: GradeSettings, mpp: float | None
) -> ExitCode:
    try:
        with open_slide(path) as slide:
            if mpp is not None:
                slide = _stated(slide, mpp)
            grading = start_grading(slide, student, settings)
            for warning in grading.plan.warnings:
                typer.echo(f"warning: {path.name}: {warning}", err=True)
            with tile_progress(path.name, len(grading.heatmap.remaining)) as advance:
                for batch in grading.run():
                    advance(len(batch.tiles) + len(batch.failed))
            write_results(grading, folder)
    except HmkdError as error:
        _complain(error)
        return ExitCode.FAILED
    return _report(grading, folder)


def _stated(slide: Slide, mpp: float) -> Slide:
    """The slide at the pixel size that the user states, which wins over the file's, aloud."""
    if slide.mpp is not None and not np.allclose(slide.mpp, mpp, rtol=0.01):
        typer.echo(
            f"warning: {slide.path.name}: --mpp {mpp:g} is used, though the file says "
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


def _complain(error: HmkdError) -> None:
    typer.echo(f"error: {error}", err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (the installed program's entry point)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the console cannot show is no error
            stream.reconfigure(errors="backslashreplace")
    app(arguments, prog_name="napari-hmkd-grade")
