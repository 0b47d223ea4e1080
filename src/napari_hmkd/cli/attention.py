"""`napari-hmkd-grade attention`: where student and teacher look on a whole slide."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hmkd.cli.options import BackendOption, DeviceOption, complain
from napari_hmkd.cli.progress import tile_progress
from napari_hmkd.errors import ExitCode, HmkdError

if TYPE_CHECKING:  # --help must not wait for what computes
    from napari_hmkd.attention_report import AttentionReport

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def attention(
    slide: Annotated[str, typer.Argument(metavar="SLIDE", help="The H&E slide.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the results, in DIR/<slide's name>.attention.")
    ],
    ihc: Annotated[
        str | None,
        typer.Option(help="The IHC slide of the same tissue, for the teacher; else student alone."),
    ] = None,
    alignment: Annotated[
        Path | None,
        typer.Option(help="How the IHC lies over the H&E (alignment.json); default: found anew."),
    ] = None,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine/--no-refine",
            help="Move the alignment at each tile, by up to 50 um, to where its nuclei fit.",
        ),
    ] = True,
    student: Annotated[str, typer.Option(help="Name or file of the student.")] = "demo",
    teacher: Annotated[
        str | None, typer.Option(help="Name or file of its teacher; default: the demo's.")
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="Pixel size of the H&E's level 0, um/px.")
    ] = None,
    ihc_mpp: Annotated[
        float | None, typer.Option(help="Pixel size of the IHC's level 0, um/px.")
    ] = None,
    check: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="In the N tiles with the greatest attention loss (without --ihc, with the highest grade), "
            "correlate attention with what the student's answer hangs on.",
        ),
    ] = 0,
    regions: Annotated[
        Path | None,
        typer.Option(
            help="GeoJSON of regions marked on the H&E, as QuPath exports annotations: attention.csv names them, "
            "attention.json has their means."
        ),
    ] = None,
    only_regions: Annotated[
        bool, typer.Option("--only-regions", help="Look inside --regions alone.")
    ] = False,
    device: DeviceOption = "auto",
    backend: BackendOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on with a slide that does not look like H&E.")
    ] = False,
) -> None:
    """Write attention maps, agreement and loss of every tile with tissue, and a figure. Research use only.

    Exit code 0: all written. 3: some tiles failed; failed.csv lists them. 2: nothing was written.
    """
    for name, value in (("alignment", alignment), ("teacher", teacher), ("ihc-mpp", ihc_mpp)):
        if ihc is None and value is not None:
            raise typer.BadParameter(f"--{name} needs an --ihc: without it the student is alone")
    from napari_hmkd.attention_report import AttentionRequest, plan_report
    from napari_hmkd.export.attention import ATTENTION, ENDING
    from napari_hmkd.export.folder import result_folders
    from napari_hmkd.planning import opened_as_stated
    from napari_hmkd.regions import read_regions

    try:
        (folder,) = result_folders(out, [Path(slide)], ATTENTION, ENDING)
        marked = () if regions is None else read_regions(regions)
        with ExitStack() as files:
            he, notes = files.enter_context(opened_as_stated(slide, backend, mpp))
            warnings = [f"{he.name}: {note}" for note in notes]
            other = None
            if ihc is not None:
                other, notes = files.enter_context(opened_as_stated(ihc, backend, ihc_mpp))
                warnings += [f"{other.name}: {note}" for note in notes]
            report = plan_report(
                AttentionRequest(
                    he=he,
                    student=student,
                    ihc=other,
                    teacher=teacher or "demo-teacher",
                    alignment=alignment,
                    refine=refine,
                    device=device,
                    check=check,
                    force=force,
                    regions=marked,
                    only_regions=only_regions,
                )
            )
            report.about["warnings"] += warnings
            failed = _write(report, folder)
    except HmkdError as error:
        complain(error)
        raise typer.Exit(ExitCode.FAILED) from error
    total = len(report.plan.tiles)
    typer.echo(f"{folder}: {total - failed} of {total} tiles; research use only")
    if notice := report.about["notice"]:
        typer.echo(f"notice: {notice}", err=True)
    if failed:
        raise typer.Exit(ExitCode.UNREADABLE_TILES)


def _write(report: AttentionReport, folder: Path) -> int:
    """Write a report, and show how far it is; how many tiles have failed."""
    from napari_hmkd.inference import FailedTile

    for line in report.about["warnings"]:
        typer.echo(f"warning: {line}", err=True)
    tiles, failed = len(report.plan.tiles), 0
    with tile_progress(report.pair.he.name, tiles + min(report.check.tiles, tiles)) as advance:
        for step in report.write(folder):
            failed += isinstance(step, FailedTile)
            advance(1)
    return failed
