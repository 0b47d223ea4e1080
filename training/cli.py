"""`napari-hmkd-train`: teacher, student, evaluate, convert."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from napari_hmkd.errors import HmkdError
from napari_hmkd.training.config import (
    AugmentSettings,
    CohortSettings,
    ComputeSettings,
    DataSettings,
    DistillationSettings,
    EngineSettings,
    ExportSettings,
    OptimiserSettings,
    SplitSettings,
    TrainSettings,
)
from napari_hmkd.training.options import with_settings

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Build and score the networks that grade HER2. Research use only.",
)

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="Folder in BCI's layout (HE/train, IHC/train, ...), or `procedural`."
    ),
]
Run = Annotated[Path, typer.Option("--out", help="New folder for the run.")]


class Role(StrEnum):
    """The two networks."""

    TEACHER = "teacher"
    STUDENT = "student"


@app.command()
@with_settings
def teacher(
    data: Data,
    out: Run,
    cohort: CohortSettings,
    pixels: DataSettings,
    split: SplitSettings,
    augment: AugmentSettings,
    optimiser: OptimiserSettings,
    engine: EngineSettings,
    compute: ComputeSettings,
    export: ExportSettings,
) -> None:
    """Train a teacher on registered H&E and IHC tiles."""
    from napari_hmkd.training.workflow import train

    settings = TrainSettings(
        cohort=cohort,
        data=pixels,
        split=split,
        augment=augment,
        optimiser=optimiser,
        engine=engine,
        compute=compute,
        export=export,
    )
    train(data, out, settings)


@app.command()
@with_settings
def student(
    data: Data,
    guide: Annotated[Path, typer.Option("--teacher", help="The finished teacher's file.")],
    out: Run,
    cohort: CohortSettings,
    pixels: DataSettings,
    split: SplitSettings,
    augment: AugmentSettings,
    distillation: DistillationSettings,
    optimiser: OptimiserSettings,
    engine: EngineSettings,
    compute: ComputeSettings,
    export: ExportSettings,
) -> None:
    """Distil a teacher into a student that sees H&E alone."""
    from napari_hmkd.training.workflow import train

    settings = TrainSettings(
        cohort=cohort,
        data=pixels,
        split=split,
        augment=augment,
        distillation=distillation,
        optimiser=optimiser,
        engine=engine,
        compute=compute,
        export=export,
    )
    train(data, out, settings, teacher=guide)


@app.command()
@with_settings
def evaluate(
    data: Data,
    learner: Annotated[Path, typer.Option("--student", help="The finished student's file.")],
    cohort: CohortSettings,
    pixels: DataSettings,
    compute: ComputeSettings,
    guide: Annotated[
        Path | None, typer.Option("--teacher", help="Score this teacher on the same tiles.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="New JSON file for the scores.")] = None,
) -> None:
    """Score a student on tiles of patients that nothing was trained on."""
    from napari_hmkd.training.evaluation import evaluate as score

    graders = {"student": learner} if guide is None else {"teacher": guide, "student": learner}
    _print_scores(score(data, graders, out, cohort, pixels, compute))


@app.command()
def convert(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="DATA", help="Torch file of the published program.")
    ],
    role: Annotated[Role, typer.Option("--role", help="Which network it holds.")],
    out: Annotated[
        Path, typer.Option("--out", help="New .safetensors file; its card goes beside.")
    ],
) -> None:
    """Import a checkpoint of the published HM-KD program; code in it is never run."""
    from napari_hmkd.training.convert import convert_published

    convert_published(checkpoint, role.value, out)
    typer.echo(f"{out}")


def _print_scores(found: dict[str, Any]) -> None:
    """A table of graders, and the sentences that go with it."""
    patients = found["patients"] or "unknown"
    table = Table(title=f"{found['tiles']} tiles, patients: {patients}")
    for column in ("grader", "quadratic weighted kappa", "accuracy", "confusion (rows: label)"):
        table.add_column(column)
    for name, scored in found["graders"].items():
        shown = [_with_interval(scored[key]) for key in ("quadratic_weighted_kappa", "accuracy")]
        rows = "\n".join(" ".join(f"{n:4d}" for n in row) for row in scored["confusion"])
        table.add_row(name, *shown, rows)
    console = Console()
    console.print(table)
    for sentence in (found["intervals"], found["split"], found["notice"]):
        console.print(sentence, soft_wrap=True, highlight=False)


def _with_interval(score: dict[str, Any]) -> str:
    value = "undefined" if score["value"] is None else f"{score['value']:.3f}"
    interval = ", ".join(f"{bound:.3f}" for bound in score["interval_95"])
    return f"{value} [{interval}]" if interval else value


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input ends in a plain message and exit code 2."""
    try:
        app(args=arguments)
    except HmkdError as error:
        print(f"napari-hmkd-train: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except ModuleNotFoundError as error:
        if error.name not in ("lightning", "torchmetrics", "sklearn"):
            raise
        print(
            f"napari-hmkd-train needs {error.name}: pip install 'napari-hmkd[train]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from error
