"""`napari-hmkd-grade study`: how far readers' scores agree with each other and with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_hmkd.cli.options import complain
from napari_hmkd.errors import ExitCode, HmkdError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def study(
    scores: Annotated[
        Path,
        typer.Argument(
            metavar="SCORES.csv",
            help="Columns slide, region (empty: the whole slide), reader, score (0, 1+, 2+, 3+), and where "
            "names do not tell slides apart, fingerprint, as summary.json has it; patient, where patients have "
            "several slides.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for agreement.json and pairs.csv.")],
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RESULTS_DIR", help="What napari-hmkd-grade wrote, to compare readers with it."
        ),
    ] = None,
) -> None:
    """Agreement of readers' HER2 scores with each other and with the model. Research use only.

    Weighted kappa of every two readers, of each reader with the model and of their consensus with
    it, and Bland-Altman limits of the model's expected grade; intervals over patients where
    the scores name them, else over slides.

    Exit code 0: written. 2: not, and nothing was written.
    """
    from napari_hmkd.study.comparison import compare
    from napari_hmkd.study.console import lines
    from napari_hmkd.study.report import write_comparison

    try:
        comparison = compare(scores, results or ())
        write_comparison(comparison, out)
    except HmkdError as error:
        complain(error)
        raise typer.Exit(ExitCode.FAILED) from error
    for warning in comparison.warnings:
        typer.echo(f"warning: {warning}", err=True)
    for line in lines(comparison):
        typer.echo(line)
