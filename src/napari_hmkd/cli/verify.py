"""`napari-hmkd-grade verify`: whether results can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_hmkd.cli.options import ExitCode, complain
from napari_hmkd.errors import HmkdError, SlideError, SlideReadError

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
) -> None:
    """Grade a sample of tiles again and compare, with the slide and the model. Research use only.

    Exit code 0: all agree. 1: something differs, and is named. 2: it could not be done.
    """
    from napari_hmkd.verification import verify_results

    try:
        found = verify_results(results, slide, model)
    except HmkdError as error:
        unopened = isinstance(error, SlideError) and not isinstance(error, SlideReadError)
        remedy = " If the slide was moved, say with --slide where it is."
        complain(f"{error}{remedy}" if unopened and slide is None else error)
        raise typer.Exit(ExitCode.FAILED) from error
    for problem in found.problems:
        typer.echo(f"differs: {problem}", err=True)
    typer.echo(
        f"{results}: {found.tiles} tiles graded again, largest difference of a probability "
        f"{found.largest_difference:.2g}, {'all agree' if not found.problems else 'NOT verified'}"
    )
    if found.problems:
        raise typer.Exit(1)
