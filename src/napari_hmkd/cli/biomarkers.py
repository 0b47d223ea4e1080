"""`napari-hmkd-grade biomarkers`: status predicted for whole slides, and where it comes from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hmkd.cli.options import BackendOption, ExitCode, complain
from napari_hmkd.cli.progress import tile_progress
from napari_hmkd.errors import HmkdError, SlideError
from napari_hmkd.wording import NO_GRADE, RESEARCH_ONLY

if TYPE_CHECKING:  # --help must not wait for what computes
    from napari_hmkd.biomarkers.encoders import Encoder
    from napari_hmkd.biomarkers.prediction import BiomarkerModel
    from napari_hmkd.biomarkers.slide import SlideBiomarkers
    from napari_hmkd.planning import GradeSettings
    from napari_hmkd.slide import Slide

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_LOG = logging.getLogger(__name__)
_WORSE = list(ExitCode)  # from best to worst


@app.command()
def biomarkers(
    slides: Annotated[
        list[str],
        typer.Argument(metavar="SLIDE", help="Slides of H&E, folders of them, or their addresses."),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the results, in DIR/<slide's name>.biomarkers.")
    ],
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
    mpp: Annotated[
        float | None,
        typer.Option(
            help="Pixel size of level 0, um/px, where a file lacks it or is wrong; wins over it."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:1, mps or cpu.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Tiles per run of the encoder.")] = 8,
    precision: Annotated[
        str, typer.Option(help="auto (bfloat16 on GPUs that have it), float32 or bfloat16.")
    ] = "auto",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Encode anew what was encoded before, and keep nothing.")
    ] = False,
    backend: BackendOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on with a slide that does not look like H&E.")
    ] = False,
) -> None:
    """Predict biomarker status of slides; a status is not the HER2 grade. Research use only.

    Exit code 0: all written. 3: written, but some tiles could not be read; biomarkers.json lists them.
    2: nothing was written for a slide; the others have theirs.
    """
    from napari_hmkd.biomarkers.feature_store import default_folder
    from napari_hmkd.biomarkers.prediction import encoder_of, open_biomarkers
    from napari_hmkd.device import choose_device, choose_precision
    from napari_hmkd.export.biomarkers import BIOMARKERS, ENDING
    from napari_hmkd.export.folder import result_folders
    from napari_hmkd.planning import GradeSettings
    from napari_hmkd.slide.finding import find_slides

    settings = GradeSettings(batch_size=batch_size, device=device, precision=precision, force=force)
    try:
        choose_precision(choose_device(device), precision)
        judge = open_biomarkers(model)
        eyes = encoder_of(judge, encoder, weights)
        paths = find_slides(slides)
        folders = result_folders(out, [Path(path) for path in paths], BIOMARKERS, ENDING)
    except HmkdError as error:
        complain(error)
        raise typer.Exit(ExitCode.FAILED) from error
    kept_in = None if fresh else default_folder()
    codes = [
        _predict(path, folder, judge, eyes, settings, mpp, backend, kept_in)
        for path, folder in zip(paths, folders, strict=True)
    ]
    raise typer.Exit(max(codes, key=_WORSE.index))


def _predict(
    path: str,
    folder: Path,
    model: BiomarkerModel,
    encoder: Encoder,
    settings: GradeSettings,
    mpp: float | None,
    backend: str | None,
    kept_in: Path | None,
) -> ExitCode:
    from napari_hmkd.biomarkers.slide import start_biomarkers
    from napari_hmkd.export.biomarkers import write_biomarkers
    from napari_hmkd.slide import open_slide

    try:
        with open_slide(path, backend=backend) as opened:
            slide: Slide = opened if mpp is None else opened.with_mpp(mpp)
            run = start_biomarkers(slide, model, encoder, settings, kept_in=kept_in)
            if run.extraction.resumed_tiles:
                typer.echo(
                    f"{slide.name}: {run.extraction.resumed_tiles} tiles were encoded before",
                    err=True,
                )
            with tile_progress(slide.name, len(run.extraction.remaining)) as advance:
                for batch in run.run():
                    advance(len(batch.tiles) + len(batch.failed))
            write_biomarkers(run, folder)
    except HmkdError as error:
        complain(error)
        return ExitCode.FAILED
    except Exception as error:  # whatever it is, it is this slide's: the others go on
        _LOG.exception("predicting biomarkers of %s", path)
        complain(SlideError(f"{path}: {error!r}"))
        return ExitCode.FAILED
    return _tell(run, folder)


def _tell(run: SlideBiomarkers, folder: Path) -> ExitCode:
    for line in run.warnings:
        typer.echo(f"warning: {run.extraction.plan.slide.name}: {line}", err=True)
    for one in run.predictions:
        said = zip(one.target.classes, one.probabilities, strict=True)
        words = ", ".join(f"{name} {p:.3f}" for name, p in said)
        typer.echo(f"{folder}: {one.target.name}: {words} ({one.target.definition})")
    typer.echo(f"{len(run.extraction.encoded_tiles())} patches; {NO_GRADE}; {RESEARCH_ONLY}")
    if run.notice:
        typer.echo(f"notice: {run.notice}", err=True)
    if failed := len(run.extraction.failed):
        typer.echo(
            f"warning: {failed} tiles could not be read; biomarkers.json lists them", err=True
        )
        return ExitCode.UNREADABLE_TILES
    return ExitCode.GOOD
