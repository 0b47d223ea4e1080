"""`napari-hmkd-grade`: the command line. What computes is imported only when something is graded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from napari_hmkd.cli import attention, biomarkers, info, study, verify, wsinfer
from napari_hmkd.cli.options import (
    BackendOption,
    DeviceOption,
    MppOption,
    PrecisionOption,
    SampleOption,
    SlidesArgument,
    complain,
    require_slides,
    typed_words,
)
from napari_hmkd.cores import keep_to_allotted_cores
from napari_hmkd.errors import ExitCode, HmkdError, refused_by_system
from napari_hmkd.geometry import Origin
from napari_hmkd.memory import keep_freed_memory
from napari_hmkd.version_option import VersionOption
from napari_hmkd.wording import print_any_name

PROGRAM = "napari-hmkd-grade"

COMMANDS = {
    "info": info.app,
    "attention": attention.app,
    "biomarkers": biomarkers.app,
    "verify": verify.app,
    "study": study.app,
    "export-wsinfer": wsinfer.app,
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(
    epilog=f"Others: '{PROGRAM} info SLIDE...' shows what is known about slides; '{PROGRAM} attention SLIDE' "
    f"where the networks look; '{PROGRAM} biomarkers SLIDE...' predicts status of ER, PR or HER2; '{PROGRAM} "
    f"verify DIR/SLIDE' grades tiles of a result again; '{PROGRAM} study SCORES.csv' says how far readers agree; "
    f"'{PROGRAM} export-wsinfer' writes a student for QuPath. A slide of such a name is given as ./info."
)
def grade(
    out: Annotated[Path, typer.Option(help="Folder for the results, one subfolder per slide.")],
    slides: SlidesArgument = None,
    sample: SampleOption = False,
    mpp: MppOption = None,
    model: Annotated[str, typer.Option(help="Name or file of a student.")] = "demo",
    device: DeviceOption = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Tiles per run of the network.")] = 8,
    precision: PrecisionOption = "auto",
    stride: Annotated[
        float,
        typer.Option(
            help="From one tile to the next, as a share of its side: 1, 0.5 or 0.25. Overlapping tiles are "
            "averaged: a finer map, in 4 or 16 times the time."
        ),
    ] = 1.0,
    regions: Annotated[
        Path | None,
        typer.Option(
            help="GeoJSON of marked regions, as QuPath exports annotations: each is summed up by itself, and "
            "for one called 'invasive tumour' a grade by area is stated."
        ),
    ] = None,
    only_regions: Annotated[
        bool, typer.Option("--only-regions", help="Grade inside --regions alone.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes of this machine, each at a slide of its own.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a dask scheduler, tcp://host:8786, whose workers do it. Start them with 'dask "
            "worker ADDRESS --nthreads 1 --nworkers N', N the number of cores, or 1 where there is a GPU: a "
            "worker grades one slide at a time."
        ),
    ] = None,
    geojson_origin: Annotated[
        Origin,
        typer.Option(
            help="Where tiles.geojson counts from if a format states which part was scanned: that part's "
            "corner, or the whole file's."
        ),
    ] = "slide",
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Grade anew what was graded before, slides and tiles, and keep no tiles.",
        ),
    ] = False,
    backend: BackendOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Grade a slide that does not look like H&E in focus.")
    ] = False,
    version: VersionOption = False,
) -> None:
    """Grade HER2 on H&E and write tables, pictures and a page for each slide. Research use only.

    Exit code 0: all graded. 3: graded, but some tiles could not be read; summary.json lists them.
    2: a slide was not graded, and nothing was written for it.
    """
    named = require_slides(slides, sample)
    from napari_hmkd.cli.grading_run import grade_jobs, make_jobs
    from napari_hmkd.planning import GradeSettings
    from napari_hmkd.result_store import default_folder

    try:
        settings = GradeSettings(
            batch_size=batch_size,
            device=device,
            precision=precision,
            stride=stride,
            only_regions=only_regions,
            force=force,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    kept_in = None if fresh else default_folder()
    try:
        jobs = make_jobs(
            named,
            out,
            sample=sample,
            model=model,
            settings=settings,
            mpp=mpp,
            backend=backend,
            regions=regions,
            kept_in=kept_in,
            geojson_origin=geojson_origin,
        )
        code = grade_jobs(jobs, out, workers, scheduler)
    except HmkdError as error:
        complain(error)
        code = ExitCode.FAILED
    raise typer.Exit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (the installed program's entry point)."""
    print_any_name()
    if arguments is None:  # the process is this program's
        keep_freed_memory()
        keep_to_allotted_cores()
    words = typed_words() if arguments is None else list(arguments)
    first = words[0] if words else ""
    try:
        if first in COMMANDS:
            COMMANDS[first](words[1:], prog_name=f"{PROGRAM} {first}")
        else:
            app(words, prog_name=PROGRAM)
    except Exception as error:
        if (refusal := refused_by_system(error)) is None:
            raise
        complain(refusal)
        raise SystemExit(ExitCode.FAILED) from error
