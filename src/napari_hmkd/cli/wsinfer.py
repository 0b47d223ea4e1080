"""`napari-hmkd-grade export-wsinfer`: a student for QuPath and `wsinfer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_hmkd.cli.options import complain
from napari_hmkd.errors import ExitCode, HmkdError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def export_wsinfer(
    out: Annotated[
        Path, typer.Option(help="The new model's folder; an earlier export is replaced.")
    ],
    model: Annotated[str, typer.Option(help="Name or file of a student.")] = "demo",
) -> None:
    """Write a student as a model of WSInfer, which QuPath's extension runs. Research use only.

    In the folder are torchscript_model.pt, config.json, and README.md with what to know about it.
    Exit code 0: written. 2: not written.
    """
    from napari_hmkd.export import wsinfer
    from napari_hmkd.grading import open_model

    try:
        student = open_model(model)
        wsinfer.export_wsinfer(student, out)
    except HmkdError as error:
        complain(error)
        raise typer.Exit(ExitCode.FAILED) from error
    typer.echo(f"{out}: {student.card.name} for WSInfer and QuPath; research use only")
    if student.card.notice:
        typer.echo(f"notice: {student.card.notice}", err=True)
