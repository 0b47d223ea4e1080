"""`napari-hmkd-grade verify`: whether results can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_hmkd.cli.options import complain
from napari_hmkd.errors import ExitCode, HmkdError, SlideError, SlideReadError
from napari_hmkd.wording import counted

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def verify(
    results: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder of one slide's results.")
    ],
    slide: Annotated[
        str | None, typer.Option(help="Where the slide is now, if it was moved.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name or file of the student.")] = "demo",
    regions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.geojson",
            help="The regions that the slide was graded with, whose outlines results do not hold: without "
            "them the regions' areas and the grade of the slide are not recomputed.",
        ),
    ] = None,
) -> None:
    """Grade a sample of tiles again and compare, with the slide and the model. Research use only.

    Exit code 0: all agree. 1: something differs, and is named. 2: it could not be done. What was not
    recomputed is named.
    """
    from napari_hmkd.regions import read_regions
    from napari_hmkd.verification import verify_results

    remedy = ""
    try:
        marked = () if regions is None else read_regions(regions)
        remedy = " If the slide was moved, say with --slide where it is." if slide is None else ""
        found = verify_results(results, slide, model, regions=marked)
    except HmkdError as error:
        unopened = isinstance(error, SlideError) and not isinstance(error, SlideReadError)
        complain(f"{error}{remedy}" if unopened else error)
        raise typer.Exit(ExitCode.FAILED) from error
    for problem in found.problems:
        typer.echo(f"differs: {problem}", err=True)
    for left in found.not_recomputed:
        typer.echo(f"not recomputed: {left}", err=True)
    agree = "all that was recomputed agrees" if found.not_recomputed else "all agree"
    typer.echo(
        f"{results}: {counted(found.tiles, 'tile')} graded again, largest difference of a probability "
        f"{found.largest_difference:.2g}, {'NOT verified' if found.problems else agree}"
    )
    if found.problems:
        raise typer.Exit(1)
