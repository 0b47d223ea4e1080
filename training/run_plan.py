"""What a run will do: everything that can be refused before a picture is compared or kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import lightning
import torch

from napari_hmkd.model import find_model
from napari_hmkd.training.building import find_guide, make_task
from napari_hmkd.training.config import TrainSettings
from napari_hmkd.training.engine import resolve_precision
from napari_hmkd.training.fields import require
from napari_hmkd.training.run import file_digest, text_digest
from napari_hmkd.training.sources.opening import open_source, resolve_labels
from napari_hmkd.training.splits import Split, split_tiles
from napari_hmkd.training.tasks import GradingTask
from napari_hmkd.training.tiles import RecordedSource


@dataclass(frozen=True)
class RunPlan:
    """The tiles, their split, and the task of a run.

    `record` is what `settings.json` says beside `data_digest`, and what a resumed run must repeat;
    `teacher` is the file of the weights that it learns from.
    """

    settings: TrainSettings
    source: RecordedSource
    split: Split
    task: GradingTask
    teacher: Path | None
    record: dict[str, Any]

    @property
    def data_digest(self) -> str:
        """By what a run's record knows its data; files are read for it, so only where it is needed."""
        return text_digest(self.source.signature)


def resolved(data: str, settings: TrainSettings, device: torch.device) -> TrainSettings:
    """The same settings, with what was left open filled in as far as data and device tell."""
    labels = resolve_labels(data, settings.data.labels)
    precision = resolve_precision(settings.engine.precision, device)
    return replace(
        settings,
        data=replace(settings.data, labels=labels),
        optimiser=settings.optimiser.resolved(),
        engine=replace(settings.engine, precision=precision),
        compute=replace(settings.compute, device=str(device)),
    )


def plan_run(
    data: str, run_name: str, settings: TrainSettings, role: str, teacher: Path | None
) -> RunPlan:
    """The plan of a run with resolved settings; the weights of its network are those of its seed.

    Raises
    ------
    HmkdError
        If data, teacher and settings do not make a run.
    """
    guide = find_guide(teacher, settings)
    source = open_source(data, settings.cohort, settings.data)
    # Mirrored again and again, a tile would show more of its copies than of itself.
    require("shift_px", settings.augment.shift_px, 0, source.tile_px - 1)
    if guide is not None:
        guide.require_same_tiles(source)
    split = split_tiles(source.tiles, settings.split)
    lightning.seed_everything(settings.engine.seed, verbose=False)
    task = make_task(source, run_name, settings, role, guide)
    task.require_labels(source, split.train)
    if guide is None:  # nobody else says in validation what is right
        task.require_labels(source, split.validation)
    weights = None if teacher is None else find_model(teacher)
    record = {
        "role": role,
        "source": data,
        "teacher": teacher,
        "teacher_identity": None if weights is None else file_digest(weights),
        **{item.name: asdict(getattr(settings, item.name)) for item in fields(settings)},
    }
    return RunPlan(settings, source, split, task, weights, record)
