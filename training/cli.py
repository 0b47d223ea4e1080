"""`napari-hmkd-train`: train, score and compare graders (HM-KD) and biomarker networks (MKD)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from napari_hmkd.cores import keep_to_allotted_cores
from napari_hmkd.errors import HmkdError, refused_by_system
from napari_hmkd.memory import keep_freed_memory
from napari_hmkd.training.config import (
    CohortSettings,
    ComputeSettings,
    DataSettings,
    StoredDataSettings,
    TrainSettings,
)
from napari_hmkd.training.features import EncoderSettings, SlideSettings, make_bags
from napari_hmkd.training.mkd.command import mkd, mkd_predict
from napari_hmkd.training.mkd.evidence.command import mkd_cohort, mkd_evidence, mkd_her2st
from napari_hmkd.training.options import with_settings
from napari_hmkd.version_option import VersionOption
from napari_hmkd.wording import print_any_name

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Build and score the networks that grade HER2. Research use only.",
)


@app.callback()
def program(version: VersionOption = False) -> None:
    """Options of the program itself."""


app.command()(mkd)
app.command()(mkd_predict)
app.command()(mkd_cohort)
app.command()(mkd_evidence)
app.command()(mkd_her2st)

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Folder in BCI's (HE/train, IHC/train, ...) or MIST's layout (trainA, trainB, ...), "
        "CSV manifest, or `procedural`.",
    ),
]
Run = Annotated[Path, typer.Option("--out", help="New folder for the run.")]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on in --out from the last finished epoch; start where there is none."
    ),
]


TRAIN_EXTRA = ("lightning", "torchmetrics", "sklearn", "matplotlib", "pandas")


@app.command()
@partial(with_settings, without=("student", "distillation"))
def teacher(data: Data, out: Run, settings: TrainSettings, resume: Resume = False) -> None:
    """Train a teacher on registered H&E and IHC tiles."""
    from napari_hmkd.training.workflow import train

    train(data, out, settings, role="teacher", resume=resume)


@app.command()
@with_settings
def student(
    data: Data,
    out: Run,
    settings: TrainSettings,
    guide: Annotated[
        Path | None,
        typer.Option("--teacher", help="The finished teacher's file; not for --method none."),
    ] = None,
    resume: Resume = False,
) -> None:
    """Distil a teacher into a student that sees H&E alone."""
    from napari_hmkd.training.workflow import train

    train(data, out, settings, role="student", teacher=guide, resume=resume)


@app.command()
@with_settings
def evaluate(
    data: Data,
    cohort: CohortSettings,
    pixels: StoredDataSettings,
    compute: ComputeSettings,
    learner: Annotated[
        Path | None, typer.Option("--student", help="The finished student's file.")
    ] = None,
    guide: Annotated[
        Path | None, typer.Option("--teacher", help="Score this teacher on the same tiles.")
    ] = None,
    part: Annotated[
        Literal["train", "validation", "calibration", "test"],
        typer.Option("--split", help="Which part of the data, as the split says."),
    ] = "test",
    out: Annotated[
        Path | None, typer.Option("--out", help="New folder for scores, page and predictions.")
    ] = None,
) -> None:
    """Score a student, a teacher or both on tiles of patients that nothing was trained on."""
    from napari_hmkd.training.scores.evaluation import evaluate as score
    from napari_hmkd.training.scores.tables import print_scores

    named = {"teacher": guide, "student": learner}
    graders = {role: path for role, path in named.items() if path is not None}
    print_scores(score(data, graders, out, cohort, pixels, compute, part=part))


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, or folders of evaluate; or NAME=RUN,RUN,... for groups of seeds or folds.",
        ),
    ],
) -> None:
    """Put runs side by side, with paired differences over the same patients.

    Runs of a group that graded the same tiles are averaged, those that share none are put together
    as folds; groups are compared with the first one. All graded one part of the data.
    """
    from napari_hmkd.training.scores import compare as side_by_side
    from napari_hmkd.training.scores.pooled import compare_groups, read_groups
    from napari_hmkd.training.scores.tables import print_comparison, print_groups

    if any("=" in run and not os.path.exists(run) for run in runs):
        print_groups(compare_groups(read_groups(runs)))
    else:
        print_comparison(side_by_side.compare([Path(run) for run in runs]))


@app.command()
@with_settings
def check_data(data: Data, cohort: CohortSettings, pixels: DataSettings) -> None:
    """List what a data set holds and what is wrong with it; exit code 1: a leak, 2: problems."""
    from napari_hmkd.training.check import run_check

    raise typer.Exit(run_check(data, cohort, pixels))


@app.command()
def experiment(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="New, or one to go on with.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="The size for two CPU cores, not for a GPU.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Training runs at once.")] = 2,
    minutes: Annotated[float, typer.Option(help="Begin no epoch after so many.")] = 7.0,
    device: Annotated[str, typer.Option(help="As for training.")] = "auto",
) -> None:
    """What distillation buys on procedural tissue; exit code 3 where a further call must go on."""
    from napari_hmkd.training.experiment.runner import run_experiment

    if not run_experiment(out, quick=quick, jobs=jobs, minutes=minutes, device=device):
        raise typer.Exit(3)


@app.command()
@with_settings
def staining(
    cohort: CohortSettings,
    student: Annotated[Path, typer.Option(help="Name or file of the student.")] = Path("demo"),
    teacher: Annotated[Path, typer.Option(help="Name or file of the teacher.")] = Path(
        "demo-teacher"
    ),
    device: Annotated[str, typer.Option(help="As for training.")] = "auto",
) -> None:
    """How well attention tells stained tissue from unstained, on procedural tiles."""
    from napari_hmkd.training.staining import print_ranking

    print_ranking(cohort, teacher, student, device)


@app.command()
@with_settings
def features(
    slides: Annotated[
        list[str],
        typer.Argument(
            metavar="SLIDE...", help="Slides of H&E, folders of them, or their addresses."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the bags, one .h5 per slide.")],
    encoder: EncoderSettings,
    reading: SlideSettings,
) -> None:
    """Turn each slide's tissue into a bag of features, in the HDF5 layout of CLAM and TRIDENT.

    A call that was cut short goes on where it was. Exit code 0: all bags are there. 3: some tiles
    could not be read and are missing. 2: a slide has no bag; the others have theirs.
    """
    raise typer.Exit(make_bags(slides, out, encoder, reading))


@app.command()
def convert(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Torch file of the published program.")
    ],
    role: Annotated[
        Literal["teacher", "student"], typer.Option("--role", help="Which network it holds.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="New .safetensors file; its card goes beside.")
    ],
) -> None:
    """Import a checkpoint of the published HM-KD program; code in it is never run."""
    from napari_hmkd.training.convert import convert_published

    convert_published(checkpoint, role, out)
    typer.echo(f"{out}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input ends in a plain message and exit code 2."""
    print_any_name()
    if arguments is None:  # the process is this program's
        keep_freed_memory()
        keep_to_allotted_cores()
    try:
        app(args=arguments)
    except HmkdError as error:
        print(f"napari-hmkd-train: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except ModuleNotFoundError as error:
        if error.name not in TRAIN_EXTRA:
            raise
        print(
            f'napari-hmkd-train needs {error.name}: pip install "napari-hmkd[train]"',
            file=sys.stderr,
        )
        raise SystemExit(2) from error
    except Exception as error:
        if (refusal := refused_by_system(error)) is None:
            raise
        print(f"napari-hmkd-train: {refusal}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
