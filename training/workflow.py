"""Training and evaluating from start to end, in the order that writes nothing on bad input."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from rich.console import Console

from napari_hmkd.errors import DataError, ModelError, OutputError
from napari_hmkd.model import ModelCard, build_student, build_teacher, find_model, load, save
from napari_hmkd.training.calibration import fit_temperature
from napari_hmkd.training.config import (
    AugmentSettings,
    CohortSettings,
    ComputeSettings,
    DataSettings,
    DistillationSettings,
    EngineSettings,
    ExportSettings,
    Labels,
    OptimiserSettings,
    SplitSettings,
)
from napari_hmkd.training.data import PairDataset, TileData
from napari_hmkd.training.distillation import Hmkd
from napari_hmkd.training.engine import Fit, fit, resolve_precision
from napari_hmkd.training.evaluation import Grader, pick_device, predict_logits, report
from napari_hmkd.training.procedural import PROCEDURAL, ProceduralSource
from napari_hmkd.training.run import RunFolder, write_json
from napari_hmkd.training.sources import BciFolder, TileSource
from napari_hmkd.training.splits import NOT_BY_PATIENT, split_tiles
from napari_hmkd.training.store import open_store
from napari_hmkd.training.tasks import GradingTask, StudentTask, TeacherTask


@dataclass(frozen=True)
class TrainSettings:
    """All groups of settings of one run."""

    cohort: CohortSettings = field(default_factory=CohortSettings)
    data: DataSettings = field(default_factory=DataSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    export: ExportSettings = field(default_factory=ExportSettings)


def open_source(data: str, settings: DataSettings, cohort: CohortSettings) -> TileSource:
    """The tiles that DATA names: a folder in BCI's layout, or the word `procedural`.

    Raises
    ------
    DataError
        If there is no such folder or it does not offer these labels.
    """
    if data == PROCEDURAL:
        return ProceduralSource(cohort, settings.labels or Labels.TILE)
    folder = Path(data)
    if not folder.is_dir():
        raise DataError(f"{data} is no folder: name one in BCI's layout, or the word {PROCEDURAL}")
    if settings.labels is Labels.TILE:
        raise DataError("--labels tile needs procedural data: BCI's grade is the whole slide's")
    return BciFolder(folder)


def train(data: str, out: Path, settings: TrainSettings, teacher: Path | None = None) -> Path:
    """Train a teacher, or with a finished `teacher` a student; return the weights' path.

    Raises
    ------
    HmkdError
        If the input is bad; nothing has been written then.
    """
    console = Console(stderr=True)
    folder = RunFolder(out)
    guide = None if teacher is None else _load(teacher, "teacher")
    source = open_source(data, settings.data, settings.cohort)
    if guide is not None:
        _check_fit(guide.card, source)
    split = split_tiles(source.tiles, settings.split)
    tiles = TileData(
        source, open_store(source, settings.data), split, settings.augment,
        batch_size=settings.compute.batch_size, seed=settings.engine.seed,
    )  # fmt: skip
    lightning.seed_everything(settings.engine.seed, verbose=False)
    task = make_task(source, out.name, settings, guide)
    folder.create()
    settings = replace(settings, optimiser=settings.optimiser.resolved())
    folder.write_settings(
        source=data,
        role=task.card.role,
        teacher=None if teacher is None else str(teacher),
        split_note=split.note,
        precision=resolve_precision(settings.engine.precision, settings.compute.device),
        **{name: getattr(settings, name) for name in settings.__dataclass_fields__},
    )
    split.write(out / "split.csv", source.tiles)
    parts = ", ".join(f"{len(i)} {name}" for name, i in split.parts().items())
    console.print(f"{source.training_data}: {parts} ({split.note})", soft_wrap=True)
    fitted = fit(task, tiles, settings.engine, settings.compute, out)
    return _finish(task, tiles, settings, out, fitted, console)


def make_task(
    source: TileSource, run_name: str, settings: TrainSettings, teacher: Grader | None
) -> GradingTask:
    """A fresh network in its training task."""
    role = "teacher" if teacher is None else "student"
    default_width = 1.0 if teacher is None else teacher.card.width
    width = settings.export.width or default_width
    card = ModelCard(
        name=settings.export.name or run_name,
        role=role,
        width=width,
        mpp=source.mpp,
        tile_px=source.tile_px,
        training_data=source.training_data,
        notice=source.notice,
    )
    if teacher is None:
        return TeacherTask(build_teacher(width=width), card, settings.optimiser)
    if settings.distillation.cosine and width != teacher.card.width:
        raise ModelError(
            f"the cosine term compares pooled features of one size: the teacher's width is "
            f"{teacher.card.width}, the student's {width}. Use one width, or --cosine 0"
        )
    return StudentTask(
        build_student(width=width), card, settings.optimiser, Hmkd(settings.distillation),
        teacher.network, teacher.card,
    )  # fmt: skip


def _load(path: Path, role: str) -> Grader:
    """A finished network of the role asked for."""
    network, card = load(find_model(path))
    if card.role != role:
        raise ModelError(f"{path} holds a {card.role}, and --{role} needs a {role}: name another")
    return Grader(network, card)


def _check_fit(card: ModelCard, source: TileSource) -> None:
    """Refuse tiles of another size or pixel size than the network learned."""
    if card.tile_px != source.tile_px or abs(card.mpp / source.mpp - 1) > 0.01:
        raise DataError(
            f"{card.name} was trained on {card.tile_px} px tiles at {card.mpp} um/px, the data "
            f"has {source.tile_px} px at {source.mpp} um/px: use tiles like those"
        )


def _finish(
    task: GradingTask,
    data: TileData,
    settings: TrainSettings,
    out: Path,
    fitted: Fit,
    console: Console,
) -> Path:
    """Calibrate, export, and score the exported file once on the test part."""
    device, size = pick_device(settings.compute.device), settings.compute.batch_size
    held = data.part(data.split.calibration)
    logits = predict_logits(Grader(task.network, task.card), held, size, device)
    temperature = fit_temperature(logits, np.array([data.grades[i] for i in held.indices]))
    card = replace(task.card, temperature=temperature)
    path = out / f"{card.role}.safetensors"
    save(path, task.network, card, half=settings.export.half)
    exported = Grader(*load(path))
    scored = {}
    for part in ("validation", "test"):
        if len(indices := data.split.parts()[part]):
            graded = predict_logits(exported, data.part(indices), size, device).argmax(1)
            scored[part] = report([data.source.tiles[i] for i in indices], {card.role: graded})
    write_json(
        out / "evaluation.json",
        {"notice": card.notice, "split": data.split.note, "fit": asdict(fitted),
         "temperature": temperature, **scored},
    )  # fmt: skip
    console.print(f"{path}: {asdict(fitted)}, temperature {temperature:.3f}", soft_wrap=True)
    return path


def evaluate(
    data: str,
    student: Path,
    teacher: Path | None,
    out: Path | None,
    settings: TrainSettings,
) -> dict[str, Any]:
    """Score finished networks, and the oracle where there is one, on tiles they never saw.

    Raises
    ------
    HmkdError
        If the input is bad; nothing has been written then.
    """
    if out is not None and out.exists():
        raise OutputError(f"{out} exists: name a new file with --out")
    graders = {} if teacher is None else {"teacher": _load(teacher, "teacher")}
    graders["student"] = _load(student, "student")
    source = open_source(data, settings.data, settings.cohort)
    for grader in graders.values():
        _check_fit(grader.card, source)
    parts = {tile.part for tile in source.tiles}
    if "test" not in parts and "train" in parts:
        raise DataError(f"{data} has no test folder: add HE/test and IHC/test")
    indices = np.array([i for i, t in enumerate(source.tiles) if t.part in ("test", None)])
    store = open_store(source, settings.data)
    dataset = PairDataset(store, [tile.grade for tile in source.tiles], indices)
    device, size = pick_device(settings.compute.device), settings.compute.batch_size
    predicted = {}
    if isinstance(source, ProceduralSource):
        predicted["oracle"] = source.oracle()
    for name, grader in graders.items():
        predicted[name] = predict_logits(grader, dataset, size, device).argmax(1)
    tiles = [source.tiles[i] for i in indices]
    found = report(
        tiles,
        predicted,
        notice=graders["student"].card.notice,
        data=source.training_data,
        split="held-out patients" if tiles[0].patient else NOT_BY_PATIENT,
        models={name: asdict(grader.card) for name, grader in graders.items()},
    )
    if out is not None:
        write_json(out, found)
    return found
