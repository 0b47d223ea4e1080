"""`napari-hmkd-train mkd-cohort`, `mkd-evidence` and `mkd-her2st`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from napari_hmkd.training.fields import require
from napari_hmkd.training.mkd.cohort.design import CohortDesign

DESIGN = CohortDesign()
Jobs = Annotated[int, typer.Option(min=1, help="Processes at once, a share of the CPU each.")]


def mkd_cohort(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New, or one to go on with.")],
    seed: Annotated[int, typer.Option(help="Seed of the drawn patients.")] = DESIGN.seed,
    patients: Annotated[int, typer.Option(help="Number of patients.")] = DESIGN.patients,
    tiles_per_patient: Annotated[
        int, typer.Option(help="Most tiles of tissue of each.")
    ] = DESIGN.tiles_per_patient,
    encoder: Annotated[
        str, typer.Option(help="As for `features`: a student's name or file.")
    ] = "demo",
    jobs: Jobs = 2,
) -> None:
    """Draw patients with slides (as bags) and genes that share known factors, for `mkd`.

    OUT gets bags, genes.csv.gz and labels.csv; factors.csv is the truth. Finished bags are kept.
    """
    from napari_hmkd.training.mkd.cohort.writing import write_cohort

    require("seed", seed, 0)
    require("patients", patients, 1)
    require("tiles_per_patient", tiles_per_patient, 1)
    design = replace(DESIGN, seed=seed, patients=patients, tiles_per_patient=tiles_per_patient)
    files = write_cohort(out, design, encoder, jobs)
    typer.echo(f"{files.folder}")


def mkd_evidence(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="New, or one to go on with.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="The size for two CPU cores, not for a GPU.")
    ] = False,
    cohort: Annotated[
        Path | None,
        typer.Option(help="Where `mkd-cohort` drew the same cohort; default: drawn in FOLDER."),
    ] = None,
    jobs: Jobs = 2,
    minutes: Annotated[float, typer.Option(help="Begin no epoch after so many.")] = 7.0,
    device: Annotated[str, typer.Option(help="As for training.")] = "auto",
) -> None:
    """What MKD and each of its losses buy on drawn patients; exit code 3: call again to go on."""
    from napari_hmkd.training.mkd.evidence.runner import run_evidence

    if not run_evidence(out, quick=quick, jobs=jobs, minutes=minutes, device=device, cohort=cohort):
        raise typer.Exit(3)


def mkd_her2st(
    data: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Holds her2st/ (counts, spots) and slides/.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New, or one to go on with.")],
    jobs: Jobs = 2,
    minutes: Annotated[float, typer.Option(help="Begin no epoch after so many.")] = 7.0,
    device: Annotated[str, typer.Option(help="As for training.")] = "auto",
) -> None:
    """MKD on spots of two neighbouring sections of one tumour; exit code 3: call again to go on."""
    from napari_hmkd.training.mkd.evidence.her2st import run_her2st

    if not run_her2st(data, out, jobs=jobs, minutes=minutes, device=device):
        raise typer.Exit(3)
