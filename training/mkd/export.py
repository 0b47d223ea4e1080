"""P of every target in one biomarker model, from the fold that is best on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_hmkd.model.mkd import PathologyNetwork
from napari_hmkd.model.mkd.card import BiomarkerCard, Target
from napari_hmkd.model.mkd.files import save_biomarkers
from napari_hmkd.training.mkd.approaches import title
from napari_hmkd.training.mkd.fold_run import FoldRun
from napari_hmkd.training.mkd.plan import TargetRuns
from napari_hmkd.training.mkd.sources import BagSource
from napari_hmkd.training.mkd.task import MkdTask, P
from napari_hmkd.training.run import write_json

MODEL_FILE, CHOICE_FILE = "biomarkers.safetensors", "exported.json"
NOTICE = "research use only; a status predicted from tissue is no test result, and no HER2 grade"


@dataclass(frozen=True, eq=False)
class Choice:
    """The piece of a target that is exported, and its number among the folds."""

    fold: int
    piece: FoldRun
    outcome: dict[str, Any]


def export_students(targets: Sequence[TargetRuns], source: BagSource, out: Path) -> Path:
    """Write `biomarkers.safetensors` with its card, and `exported.json` with what was chosen.

    The first approach of a target, MKD where there are genes, is exported; of its folds, the one
    whose P has the largest area under the ROC curve on validation.

    Raises
    ------
    HmkdError
        If a checkpoint cannot be read, or the files cannot be written.
    """
    chosen = {runs.data.name: _best(runs) for runs in targets}
    networks = {name: _student(choice.piece) for name, choice in chosen.items()}
    card = BiomarkerCard(
        name=out.resolve().name,
        feature_dim=targets[0].data.feature_dim,
        targets=tuple(_target(runs, chosen[runs.data.name]) for runs in targets),
        training_data="; ".join(_about(runs, chosen[runs.data.name]) for runs in targets),
        **asdict(replace(source, notice="; ".join(filter(None, (NOTICE, source.notice))))),
    )
    path = out / MODEL_FILE
    save_biomarkers(networks, card, path)
    write_json(
        out / CHOICE_FILE,
        {
            name: {"fold": choice.fold, "approach": choice.piece.approach, **choice.outcome}
            for name, choice in chosen.items()
        },
    )
    return path


def _best(runs: TargetRuns) -> Choice:
    choices = [Choice(k, fold[0], fold[0].outcome()) for k, fold in enumerate(runs.folds)]
    return max(choices, key=lambda choice: choice.outcome["validation_auc"][P])


def _student(piece: FoldRun) -> PathologyNetwork:
    task = piece.trained_task()
    assert isinstance(task, MkdTask)
    return task.pathology


def _target(runs: TargetRuns, choice: Choice) -> Target:
    labels = runs.data.labels
    return Target(
        name=labels.target,
        classes=labels.classes,
        ordinal=labels.ordinal,
        temperature=choice.outcome["temperature"][P],
        definition=runs.data.definition,
    )


def _about(runs: TargetRuns, choice: Choice) -> str:
    data, fold = runs.data, runs.data.folds[choice.fold]
    score = choice.outcome["validation_auc"][P]
    return (
        f"{data.summary}; trained on {len(fold.train)} of them, "
        f"{title(choice.piece.approach, P)}, fold {choice.fold} of {len(data.folds)} (from 0), the best on "
        f"validation (AUC {score:.3f} over {len(fold.validation)} cases, which also gave the temperature)"
    )
