"""A training run from start to end, in the order that writes nothing on bad input."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

import lightning
import torch

from napari_hmkd.device import choose_device
from napari_hmkd.errors import ModelError
from napari_hmkd.model import ModelCard, build_student, build_teacher, load, save
from napari_hmkd.training.calibration import fit_temperature
from napari_hmkd.training.config import TrainSettings
from napari_hmkd.training.console import say
from napari_hmkd.training.data import TileData
from napari_hmkd.training.distillation import Hmkd
from napari_hmkd.training.engine import Fit, fit, resolve_precision
from napari_hmkd.training.evaluation import report
from napari_hmkd.training.graders import Grader, load_grader, predict_logits
from napari_hmkd.training.run import RunFolder, write_json
from napari_hmkd.training.sources import open_source, resolve_labels
from napari_hmkd.training.splits import SPLIT_FILE, split_tiles
from napari_hmkd.training.store import open_store
from napari_hmkd.training.tasks import GradingTask, StudentTask, TeacherTask
from napari_hmkd.training.tiles import TileSource


def train(data: str, out: Path, settings: TrainSettings, teacher: Path | None = None) -> Path:
    """Train a teacher, or with a finished `teacher` a student; return the weights' path.

    Raises
    ------
    HmkdError
        If the input is bad; nothing has been written to `out` then.
    """
    folder = RunFolder(out)
    device = choose_device(settings.compute.device)
    settings = _resolved(data, settings, device)
    guide = None if teacher is None else load_grader(teacher, "teacher")
    source = open_source(data, settings.cohort, settings.data.labels)
    if guide is not None:
        guide.require_same_tiles(source)
    split = split_tiles(source.tiles, settings.split)
    lightning.seed_everything(settings.engine.seed, verbose=False)
    task = make_task(source, out.resolve().name, settings, guide)
    tiles = TileData(
        source.tiles,
        open_store(source, settings.data),
        split,
        settings.augment,
        batch_size=settings.compute.batch_size,
        seed=settings.engine.seed,
    )
    folder.create()
    groups = {item.name: getattr(settings, item.name) for item in fields(settings)}
    folder.write_settings(role=task.card.role, source=data, teacher=teacher, **groups)
    split.write(out / SPLIT_FILE, source.tiles)
    sizes = ", ".join(f"{len(indices)} {part}" for part, indices in split.parts().items())
    say(f"{source.training_data}\n{sizes} ({split.note})")
    fitted = fit(task, tiles, settings.engine, device, out)
    return _finish(task, tiles, settings, out, fitted, device)


def make_task(
    source: TileSource, run_name: str, settings: TrainSettings, teacher: Grader | None
) -> GradingTask:
    """A fresh network in its training task.

    Raises
    ------
    ModelError
        If a width is impossible, or teacher and student cannot be compared.
    """
    width = settings.export.width
    if width is None:
        width = 1.0 if teacher is None else teacher.card.width
    lesson = "" if teacher is None else f"; taught by {teacher.card.name}"
    card = ModelCard(
        name=settings.export.name or run_name,
        role="teacher" if teacher is None else "student",
        width=width,
        mpp=source.mpp,
        tile_px=source.tile_px,
        training_data=source.training_data + lesson,
        notice=source.notice,
    )
    if teacher is None:
        return TeacherTask(build_teacher(width=width), card, settings.optimiser)
    if settings.distillation.cosine and width != teacher.card.width:
        raise ModelError(
            f"the cosine term compares pooled features of one size, but the teacher's width is "
            f"{teacher.card.width} and the student's {width}: use one width, or --cosine 0"
        )
    network = build_student(width=width)
    return StudentTask(network, card, settings.optimiser, Hmkd(settings.distillation), teacher)


def _resolved(data: str, settings: TrainSettings, device: torch.device) -> TrainSettings:
    """The same settings with every value that was left open filled in."""
    labels = resolve_labels(data, settings.data.labels)
    precision = resolve_precision(settings.engine.precision, device)
    return replace(
        settings,
        data=replace(settings.data, labels=labels),
        optimiser=settings.optimiser.resolved(),
        engine=replace(settings.engine, precision=precision),
        compute=replace(settings.compute, device=str(device)),
    )


def _finish(
    task: GradingTask,
    data: TileData,
    settings: TrainSettings,
    out: Path,
    fitted: Fit,
    device: torch.device,
) -> Path:
    """Calibrate, export, and score the exported file once on the test part."""
    size = settings.compute.batch_size
    held = data.part(data.split.calibration)
    logits = predict_logits(Grader(task.network, task.card), held, size, device)
    card = replace(task.card, temperature=fit_temperature(logits, held.grades))
    path = out / f"{card.role}.safetensors"
    save(path, task.network, card, half=settings.export.half)
    exported = Grader(*load(path))
    scored = {}
    for part in ("validation", "test"):
        if len(indices := data.split.parts()[part]):
            graded = predict_logits(exported, data.part(indices), size, device).argmax(1)
            scored[part] = report([data.tiles[i] for i in indices], {card.role: graded})
    write_json(
        out / "evaluation.json",
        {
            "notice": card.notice,
            "split": data.split.note,
            "fit": asdict(fitted),
            "temperature": card.temperature,
            **scored,
        },
    )
    kappa = fitted.best_validation_kappa
    say(
        f"{path}: epoch {fitted.best_epoch} with validation kappa {kappa:.3f}, "
        f"temperature {card.temperature:.3f}, {fitted.steps_per_second:.2f} steps/s"
    )
    return path
