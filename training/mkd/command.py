"""`napari-hmkd-train mkd` and `mkd-predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.config import (
    AdamWSettings,
    CaseComputeSettings,
    CaseTrainerSettings,
    FoldSettings,
    GeneSettings,
    MkdRunSettings,
    MkdSettings,
)
from napari_hmkd.training.options import with_settings

Bags = Annotated[
    Path,
    typer.Option("--bags", help="Folder of bags (HDF5, as `features`, CLAM or TRIDENT write)."),
]
GeneTableFile = Annotated[
    Path | None,
    typer.Option(
        "--genes",
        help="Table of cases x genes, or cBioPortal's; without it, tissue alone.",
    ),
]


@with_settings
def mkd(
    bags: Bags,
    labels: Annotated[
        Path,
        typer.Option("--labels", help="Table: case, a column for each target; patient, slide."),
    ],
    target: Annotated[list[str], typer.Option("--target", help="Column to learn; repeatable.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for the run.")],
    terms: MkdSettings,
    selection: GeneSettings,
    folds: FoldSettings,
    optimiser: AdamWSettings,
    engine: CaseTrainerSettings,
    compute: CaseComputeSettings,
    genes: GeneTableFile = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--classes", help="Order of a target's classes: HER2=0,1+,2+,3+; repeatable."),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Train the baselines on the same folds, too.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --out; start where there is none."),
    ] = False,
) -> None:
    """Learn a status of whole cases from bags of patches, with genes as teachers (MKD).

    Every fold of every target in one go, MKD beside the same network trained alone; one table.
    """
    from napari_hmkd.training.mkd.inputs import Request
    from napari_hmkd.training.mkd.run import train_mkd

    request = Request(bags, labels, tuple(target), genes, _classes(classes or ()), baselines)
    settings = MkdRunSettings(terms, selection, folds, optimiser, engine, compute)
    if (path := train_mkd(request, out, settings, resume=resume)) is not None:
        typer.echo(f"{path}")


def mkd_predict(
    run: Annotated[Path, typer.Option("--run", help="Folder of a finished run of `mkd`.")],
    bags: Bags,
    out: Annotated[Path, typer.Option("--out", help="New CSV file.")],
    genes: GeneTableFile = None,
    device: Annotated[str, typer.Option(help="As for training.")] = "auto",
) -> None:
    """Predict new bags: with P from tissue alone, with M where the table has a bag's genes."""
    from napari_hmkd.training.mkd.predict import predict_bags

    predict_bags(run, bags, genes, out, device)
    typer.echo(f"{out}")


def _classes(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The order of classes by target."""
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        target, _, names = text.partition("=")
        order = tuple(name.strip() for name in names.split(",") if name.strip())
        if not (target and order):
            raise DataError(f"--classes takes TARGET=LOWEST,...,HIGHEST, got {text!r}")
        found[target] = order
    return found
