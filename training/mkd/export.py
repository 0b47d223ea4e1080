"""P and M of every target in one biomarker model, from the fold that is best on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_hmkd.model.mkd.card import BiomarkerCard, Target
from napari_hmkd.model.mkd.files import MultimodalModel, save_biomarkers
from napari_hmkd.model.mkd.outputs import M, P
from napari_hmkd.training.mkd.approaches import TITLES
from napari_hmkd.training.mkd.fold_run import FoldRun
from napari_hmkd.training.mkd.plan import TargetRuns, fold_folder, read_selection
from napari_hmkd.training.mkd.sources import BagSource
from napari_hmkd.training.mkd.task import MkdTask
from napari_hmkd.wording import one_notice

MODEL_FILE = "biomarkers.safetensors"
NOTICE = "research use only; a predicted status is no test result, and no HER2 grade"


@dataclass(frozen=True, eq=False)
class Choice:
    """The piece of a target that is exported, and its number among the folds."""

    fold: int
    piece: FoldRun
    outcome: dict[str, Any]


def export_networks(targets: Sequence[TargetRuns], source: BagSource, out: Path) -> Path:
    """Write `biomarkers.safetensors` with its card: P, and where there are genes M with those it sees.

    The first approach of a target, MKD where there are genes, is exported; of its folds, the one
    whose P has the largest area under the ROC curve on validation.

    Raises
    ------
    HmkdError
        If a checkpoint cannot be read, or the files cannot be written.
    """
    chosen = {runs.data.name: _best(runs) for runs in targets}
    tasks = {name: _trained(choice.piece) for name, choice in chosen.items()}
    multimodal = {
        name: MultimodalModel(
            task.multimodal, read_selection(fold_folder(out, name, chosen[name].fold))
        )
        for name, task in tasks.items()
        if task.multimodal is not None
    }
    card = BiomarkerCard(
        name=out.resolve().name,
        feature_dim=targets[0].data.feature_dim,
        targets=tuple(_target(runs, chosen[runs.data.name]) for runs in targets),
        training_data="; ".join(_about(runs, chosen[runs.data.name]) for runs in targets),
        **asdict(replace(source, notice=one_notice(NOTICE, source.notice))),
    )
    path = out / MODEL_FILE
    networks = {name: task.pathology for name, task in tasks.items()}
    save_biomarkers(networks, card, path, multimodal)
    return path


def _best(runs: TargetRuns) -> Choice:
    choices = [Choice(k, fold[0], fold[0].outcome()) for k, fold in enumerate(runs.folds)]
    return max(choices, key=lambda choice: choice.outcome["validation_auc"][P])


def _trained(piece: FoldRun) -> MkdTask:
    task = piece.trained_task()
    assert isinstance(task, MkdTask)
    return task


def _target(runs: TargetRuns, choice: Choice) -> Target:
    labels, temperature = runs.data.labels, choice.outcome["temperature"]
    return Target(
        name=labels.target,
        classes=labels.classes,
        ordinal=labels.ordinal,
        temperature=temperature[P],
        temperature_with_genes=temperature.get(M),
        definition=runs.data.definition,
    )


def _about(runs: TargetRuns, choice: Choice) -> str:
    data, fold = runs.data, runs.data.folds[choice.fold]
    scores = choice.outcome["validation_auc"]
    m = f", M {scores[M]:.3f}" if M in scores else ""
    return (
        f"{data.summary}; trained on {len(fold.train)} of them, "
        f"{TITLES[choice.piece.approach, P]}, fold {choice.fold} of {len(data.folds)} (from 0), the best on "
        f"validation (AUC {scores[P]:.3f}{m} over {len(fold.validation)} cases, which also gave the temperature)"
    )
