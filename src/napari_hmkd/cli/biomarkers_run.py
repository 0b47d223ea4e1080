"""Slides judged one after the other by the command line, as the panel does it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from napari_hmkd.biomarkers.case_genes import GeneSource
from napari_hmkd.biomarkers.encoders import Encoder
from napari_hmkd.biomarkers.prediction import BiomarkerModel
from napari_hmkd.biomarkers.slide import SlideBiomarkers, start_biomarkers
from napari_hmkd.cli.options import complain
from napari_hmkd.cli.progress import tile_progress, told_when_stopped
from napari_hmkd.errors import ExitCode, HmkdError, unforeseen
from napari_hmkd.export.biomarkers import write_biomarkers
from napari_hmkd.export.biomarkers_cohort import BIOMARKER_COHORT, biomarker_rows
from napari_hmkd.export.earlier_rows import SharedTable
from napari_hmkd.geometry import Origin
from napari_hmkd.planning import GradeSettings, opened_as_stated
from napari_hmkd.wording import NO_GRADE, RESEARCH_ONLY, counted

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class BiomarkerJob:
    """One slide whose biomarkers are to be predicted.

    Attributes
    ----------
    slide : str
        Path or address.
    folder : pathlib.Path
        For its results.
    model : BiomarkerModel
    encoder : Encoder
        Of the model's bags.
    settings : GradeSettings
        Which tiles, in what batches and where.
    genes : GeneSource or None
        For the model's M.
    mpp : float or None
        Micrometres per pixel as the user states them.
    backend : str or None
        The back end to insist on.
    kept_in : pathlib.Path or None
        Where features are kept (`start_biomarkers`).
    geojson_origin : {"slide", "file"}
        What `patches.geojson` counts from.
    """

    slide: str
    folder: Path
    model: BiomarkerModel
    encoder: Encoder
    settings: GradeSettings
    genes: GeneSource | None = None
    mpp: float | None = None
    backend: str | None = None
    kept_in: Path | None = None
    geojson_origin: Origin = "slide"


def predict_jobs(jobs: Sequence[BiomarkerJob], out: Path) -> ExitCode:
    """Do jobs and tell what comes of each; of several slides write a table, too.

    A table that is there already keeps the rows of other slides, and one slide alone is entered in it.

    Returns
    -------
    The worst of the slides' exit codes; every message has been printed.

    Raises
    ------
    OutputError
        If there is a table that cannot be read; nothing has been predicted then.
    """
    table = SharedTable(out, BIOMARKER_COHORT, [job.slide for job in jobs])
    codes, unwritten = [ExitCode.GOOD], None
    for job in jobs:
        code, about, message = _predict(job)
        codes.append(code)
        unwritten = table.add(biomarker_rows(job.slide, job.model.card.targets, about, message))
    if unwritten is not None:
        complain(unwritten)
        codes.append(ExitCode.FAILED)
    return ExitCode.worst(codes)


def _predict(job: BiomarkerJob) -> tuple[ExitCode, dict[str, Any], str]:
    """What became of a slide, its summary, and why there is none."""
    try:
        with opened_as_stated(job.slide, job.backend, job.mpp) as (slide, notes):
            genes = None if job.genes is None else job.genes.of_slide(slide.name)
            run = start_biomarkers(
                slide, job.model, job.encoder, job.settings, kept_in=job.kept_in, genes=genes
            )
            run.extraction.notes += notes
            _run(run)
            about = write_biomarkers(run, job.folder, job.geojson_origin)
            return _tell(run, job.folder), about, ""
    except HmkdError as error:
        message = str(error)
    except Exception as error:  # whatever it is, it is this slide's: the others go on
        message = unforeseen(job.slide, error, _LOG)
    complain(message)
    return ExitCode.FAILED, {}, message


def _run(run: SlideBiomarkers) -> None:
    name, extraction = run.extraction.plan.slide.name, run.extraction
    if extraction.resumed_tiles:
        typer.echo(f"{name}: {extraction.resumed_tiles} tiles were encoded before", err=True)

    def kept_tiles() -> int:
        return 0 if extraction.store is None else len(extraction.encoded_tiles())

    with (
        told_when_stopped(name, kept_tiles),
        tile_progress(name, len(extraction.remaining)) as advance,
    ):
        for batch in run.run():
            advance(len(batch.tiles) + len(batch.failed))


def _tell(run: SlideBiomarkers, folder: Path) -> ExitCode:
    for line in run.warnings:
        typer.echo(f"warning: {run.extraction.plan.slide.name}: {line}", err=True)
    for one in run.predictions:
        said = zip(one.target.classes, one.probabilities, strict=True)
        words = ", ".join(f"{name} {p:.3f}" for name, p in said)
        typer.echo(f"{folder}: {one.target.name}: {words} ({one.target.definition})")
    patches = counted(len(run.extraction.encoded_tiles()), "patch", "patches")
    typer.echo(f"{patches}; {run.answered_by}; {NO_GRADE}; {RESEARCH_ONLY}")
    if run.notice:
        typer.echo(f"notice: {run.notice}", err=True)
    return ExitCode.UNREADABLE_TILES if run.extraction.failed else ExitCode.GOOD
