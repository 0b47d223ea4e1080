"""`napari-hmkd-grade`: the command line. What computes is imported only when something is graded."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from napari_hmkd.cli import info
from napari_hmkd.cli.options import BackendOption
from napari_hmkd.memory import keep_freed_memory

PROGRAM = "napari-hmkd-grade"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(
    epilog=f"'{PROGRAM} info SLIDE...' tells what is known about slides and grades nothing. "
    "A slide of that name is given as ./info."
)
def grade(
    out: Annotated[Path, typer.Option(help="Folder for the results, one subfolder per slide.")],
    slides: Annotated[
        list[str] | None,
        typer.Argument(metavar="SLIDE", help="Whole-slide images of H&E, or their addresses."),
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
    backend: BackendOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Grade a slide that does not look like H&E in focus.")
    ] = False,
) -> None:
    """Grade HER2 on H&E: tiles.csv, summary.json, heatmap.png, tissue.png for each. Research use only.

    Exit code 0: all graded. 3: graded, but some tiles could not be read; summary.json lists them.
    2: a slide was not graded, and nothing was written for it.
    """
    if not slides and not sample:
        raise typer.BadParameter("give at least one SLIDE, or --sample")
    from napari_hmkd.cli.grading_run import grade_slides
    from napari_hmkd.planning import GradeSettings

    settings = GradeSettings(batch_size=batch_size, device=device, force=force)
    raise typer.Exit(grade_slides(slides or (), sample, out, model, settings, mpp, backend))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (the installed program's entry point)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the console cannot show is no error
            stream.reconfigure(errors="backslashreplace")
    if arguments is None:  # the process is this program's
        keep_freed_memory()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["info"]:
        info.app(words[1:], prog_name=f"{PROGRAM} info")
    else:
        app(words, prog_name=PROGRAM)
