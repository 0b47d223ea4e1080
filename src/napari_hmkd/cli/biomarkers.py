"""`napari-hmkd-grade biomarkers`: status predicted for whole slides, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from napari_hmkd.cli.options import (
    BackendOption,
    DeviceOption,
    MppOption,
    PrecisionOption,
    SampleOption,
    SlidesArgument,
    complain,
    require_slides,
)
from napari_hmkd.errors import DataError, ExitCode, HmkdError
from napari_hmkd.geometry import Origin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def biomarkers(
    out: Annotated[
        Path, typer.Option(help="Folder for the results, in DIR/<slide's name>.biomarkers.")
    ],
    slides: SlidesArgument = None,
    sample: SampleOption = False,
    model: Annotated[str, typer.Option(help="Name or file of a biomarker model.")] = "demo",
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Name or file of the encoder of its bags; default: timm's network that it names, or 'demo'."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Local file of weights of an encoder that is timm's.")
    ] = None,
    genes: Annotated[
        Path | None,
        typer.Option(
            help="Table of cases x genes, or cBioPortal's: network M answers where it has the slide's case, else P."
        ),
    ] = None,
    case: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Whose genes they are, where the name of the slide does not say."
        ),
    ] = "",
    mpp: MppOption = None,
    device: DeviceOption = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Tiles per run of the encoder.")] = 8,
    precision: PrecisionOption = "auto",
    geojson_origin: Annotated[
        Origin,
        typer.Option(
            help="Where patches.geojson counts from if a format states which part was scanned: that part's "
            "corner, or the whole file's."
        ),
    ] = "slide",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Encode anew what was encoded before, and keep nothing.")
    ] = False,
    backend: BackendOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on with a slide that does not look like H&E.")
    ] = False,
) -> None:
    """Predict biomarker status of slides; a status is not the HER2 grade. Research use only.

    Network P needs nothing but the slide; with --genes network M answers for slides of its cases.
    A slide's case is the row that its name is or begins with, or its TCGA patient's only one.
    Each output says which network answered.

    Several slides also get biomarkers.csv in the output folder, a row per slide and target.

    Exit code 0: all written. 3: written, but some tiles could not be read; biomarkers.json lists them.
    2: nothing was written for a slide; the others have theirs.
    """
    named = require_slides(slides, sample)
    from napari_hmkd.biomarkers.case_genes import open_genes
    from napari_hmkd.biomarkers.feature_store import default_folder
    from napari_hmkd.biomarkers.prediction import encoder_of, open_biomarkers
    from napari_hmkd.cli.biomarkers_run import BiomarkerJob, predict_jobs
    from napari_hmkd.cli.slides import slides_meant
    from napari_hmkd.device import choose_device, choose_precision
    from napari_hmkd.export.biomarkers import BIOMARKERS, ENDING
    from napari_hmkd.export.folder import result_folders
    from napari_hmkd.planning import GradeSettings

    settings = GradeSettings(batch_size=batch_size, device=device, precision=precision, force=force)
    kept_in = None if fresh else default_folder()
    try:
        choose_precision(choose_device(device), precision)
        judge = open_biomarkers(model)
        eyes = encoder_of(judge, encoder, weights)
        paths = slides_meant(named, sample)
        _require_one_case(case, genes, paths)
        source = None if genes is None else open_genes(genes, judge.path, judge.card, case)
        folders = result_folders(out, [Path(path) for path in paths], BIOMARKERS, ENDING)
        jobs = [
            BiomarkerJob(
                path, folder, judge, eyes, settings, source, mpp, backend, kept_in,
                geojson_origin,
            )
            for path, folder in zip(paths, folders, strict=True)
        ]  # fmt: skip
        code = predict_jobs(jobs, out)
    except HmkdError as error:
        complain(error)
        code = ExitCode.FAILED
    raise typer.Exit(code)


def _require_one_case(case: str, genes: Path | None, slides: Sequence[str]) -> None:
    if case and genes is None:
        raise DataError(
            f"asked for the genes of the case {case} without a table; give it with --genes"
        )
    if case and len(slides) > 1:
        raise DataError(
            f"asked to judge {len(slides)} slides by the genes of the case {case}; name one slide with --case, or "
            "name the rows of the table after the slides"
        )
