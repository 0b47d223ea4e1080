"""`napari-hmkd-train mkd` and `mkd-predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.config import MkdRunSettings
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
    settings: MkdRunSettings,
    genes: GeneTableFile = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--classes", help="Order of a target's classes: HER2=0,1+,2+,3+; repeatable."),
    ] = None,
    definition: Annotated[
        list[str] | None,
        typer.Option(
            "--definition",
            help="What a target means, shown with each prediction: HER2=TEXT; repeatable.",
        ),
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

    orders, meanings = (
        _by_target("classes", classes or ()),
        _by_target("definition", definition or ()),
    )
    order = {name: _class_names(text) for name, text in orders.items()}
    request = Request(bags, labels, tuple(target), genes, order, meanings, baselines)
    if (path := train_mkd(request, out, settings, resume=resume)) is not None:
        typer.echo(f"{path}")


def mkd_predict(
    run: Annotated[Path, typer.Option("--run", help="Folder of a finished run of `mkd`.")],
    bags: Bags,
    out: Annotated[Path, typer.Option("--out", help="New CSV file.")],
    genes: GeneTableFile = None,
    cases: Annotated[
        Path | None,
        typer.Option(
            "--cases",
            help="Table of cases, as --labels of `mkd`: bags of one are judged together.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="As for training.")] = "auto",
) -> None:
    """Predict new cases: with P from tissue alone, with M where the table has genes of them."""
    from napari_hmkd.training.mkd.predict import predict_bags

    predict_bags(run, bags, genes, out, device, cases)
    typer.echo(f"{out}")


def _by_target(option: str, given: Sequence[str]) -> dict[str, str]:
    """What an option says of each target."""
    found: dict[str, str] = {}
    for text in given:
        target, _, value = (part.strip() for part in text.partition("="))
        if not (target and value):
            raise DataError(f"--{option} takes TARGET=..., got {text!r}")
        if target in found:
            raise DataError(f"--{option} is given twice for {target}: say it once for each target")
        found[target] = value
    return found


def _class_names(text: str) -> tuple[str, ...]:
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    if not names:
        raise DataError(f"--classes takes TARGET=LOWEST,...,HIGHEST, got no class in {text!r}")
    return names
