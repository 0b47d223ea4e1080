"""`napari-hmkd-grade info`: what is known about slides, without reading their pixels."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_hmkd.cli.options import BackendOption, complain
from napari_hmkd.errors import ExitCode, HmkdError
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.description import describe

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def info(
    slides: Annotated[
        list[str], typer.Argument(metavar="SLIDE", help="Whole-slide images, or their addresses.")
    ],
    backend: BackendOption = None,
) -> None:
    """Show what is known about slides: format, size, pixel size, and which back end reads them.

    Exit code 0: all were opened. 2: one was not; the others are shown all the same.
    """
    codes = [_show(slide, backend) for slide in slides]
    raise typer.Exit(ExitCode.worst(codes))


def _show(path: str, backend: str | None) -> ExitCode:
    try:
        with open_slide(path, backend=backend) as slide:
            facts = describe(slide)
    except HmkdError as error:
        complain(error)
        return ExitCode.FAILED
    width = max(map(len, facts))
    typer.echo("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()) + "\n")
    return ExitCode.GOOD
