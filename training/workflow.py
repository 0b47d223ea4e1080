"""A training run from start to end, in the order that writes nothing on bad input."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import lightning
import torch

from napari_hmkd.device import choose_device
from napari_hmkd.model import find_model, load, save
from napari_hmkd.training.building import find_guide, make_task
from napari_hmkd.training.check import refuse_leaks
from napari_hmkd.training.checkpoints import read_progress
from napari_hmkd.training.config import TrainSettings
from napari_hmkd.training.console import say, silence
from napari_hmkd.training.data import TileData
from napari_hmkd.training.engine import Engine, Fit, resolve_precision
from napari_hmkd.training.graders import Grader, predict_logits
from napari_hmkd.training.run import RunFolder, file_digest, text_digest
from napari_hmkd.training.scores.calibration import calibrate
from napari_hmkd.training.scores.evaluation import write_evaluation
from napari_hmkd.training.sources.opening import open_source, resolve_labels
from napari_hmkd.training.splits import split_tiles
from napari_hmkd.training.store import open_store
from napari_hmkd.training.tasks import GradingTask
from napari_hmkd.training.tiles import TileSource


def train(
    data: str,
    out: Path,
    settings: TrainSettings,
    *,
    role: str,
    teacher: Path | None = None,
    resume: bool = False,
    deadline: float | None = None,
) -> Path | None:
    """Train a "teacher" or a "student", calibrate it, and score it once on the test part.

    Parameters
    ----------
    data : str
        A folder, a manifest, or `procedural`.
    out : Path
        The run's folder; new or empty, unless `resume`.
    settings : TrainSettings
        All else.
    role : {"teacher", "student"}
        Which network.
    teacher : Path, optional
        A finished teacher's file; a student needs it unless its method is `none`.
    resume : bool
        Go on after the last finished epoch of the run in `out`, which must have been started with
        the same settings; start where there is none.
    deadline : float, optional
        `time.monotonic()` at which to pause: training stops after the last epoch that is likely to
        end before it, one at least.

    Returns
    -------
    Path or None
        The weights. None where the deadline came first (a later call with `resume` goes on), and
        in the processes of a distributed run that only compute.

    Raises
    ------
    HmkdError
        If the input is bad; nothing has been written to `out` then.

    Notes
    -----
    A run on several machines shares `out`, as each process reads its checkpoints: start the same
    command on each with torchrun (`torchrun --nnodes 2 --nproc-per-node 4 ... -m
    napari_hmkd.training.cli teacher ... --nodes 2 --devices 4`), or with srun in a SLURM job of as
    many tasks per node as `--devices`. On one machine the command starts its processes itself.
    """
    device = choose_device(settings.compute.device)
    settings = _resolved(data, settings, device)
    engine = Engine(settings.engine, settings.compute, device, out, deadline)
    if not engine.leads:
        silence()
    folder = RunFolder(out, resume=resume or not engine.leads)
    guide = find_guide(teacher, settings)
    source = open_source(data, settings.cohort, settings.data)
    if guide is not None:
        guide.require_same_tiles(source)
    split = split_tiles(source.tiles, settings.split)
    refuse_leaks(source, split, settings.data.accept_leaks)
    lightning.seed_everything(settings.engine.seed, verbose=False)
    task = make_task(source, out.resolve().name, settings, role, guide)
    task.require_labels(source.tiles[i] for i in split.train)
    record = _record(data, settings, source, role, teacher)
    if engine.leads and folder.resuming:
        folder.require_same(record, split, source.tiles)
        if (weights := folder.finished(role)) is not None:
            say(f"the run in {out} is finished: {weights}")
            return weights
    progress = read_progress(out, task) if resume else None
    tiles = TileData(
        source.tiles,
        open_store(source, settings.data),
        split,
        settings.augment,
        batch_size=settings.compute.batch_size,
        seed=settings.engine.seed,
        rank=engine.rank,
        ranks=engine.ranks,
    )
    if engine.leads:
        if not folder.resuming:
            folder.create(record, split, source.tiles)
        sizes = ", ".join(f"{len(indices)} {part}" for part, indices in split.parts().items())
        say(f"{source.training_data}\n{sizes} ({split.note})")
    fitted = engine.fit(task, tiles, progress)
    if fitted is None or not engine.leads:
        return None
    return _finish(task, tiles, settings, out, fitted, device)


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


def _record(
    data: str, settings: TrainSettings, source: TileSource, role: str, teacher: Path | None
) -> dict[str, Any]:
    """What `settings.json` says, and what a resumed run must repeat."""
    groups = {item.name: asdict(getattr(settings, item.name)) for item in fields(settings)}
    return {
        "role": role,
        "source": data,
        "source_identity": text_digest(source.identity),
        "teacher": teacher,
        "teacher_identity": None if teacher is None else file_digest(find_model(teacher)),
        **groups,
    }


def _finish(
    task: GradingTask,
    data: TileData,
    settings: TrainSettings,
    out: Path,
    fitted: Fit,
    device: torch.device,
) -> Path:
    """Calibrate, export, and score the exported file once on the test part."""
    size, card = settings.compute.batch_size, task.card
    held = data.part(data.split.calibration)
    logits = predict_logits(Grader(task.network, card), held, size, device)
    calibration = calibrate(logits, held.grades, card.conformal_level)
    card = replace(
        card,
        temperature=calibration.temperature,
        conformal_level=calibration.level,
        conformal_thresholds=calibration.thresholds,
    )
    path = out / f"{card.role}.safetensors"
    save(path, task.network, card, half=settings.export.half)
    part = "test" if len(data.split.test) else "validation"
    indices = data.split.parts()[part]
    logits = predict_logits(Grader(*load(path)), data.part(indices), size, device)
    write_evaluation(
        out,
        [data.tiles[i] for i in indices],
        {card.role: logits},
        {card.role: card},
        part=part,
        notice=card.notice,
        split=data.split.note,
        fit=asdict(fitted),
        calibration_remarks=calibration.remarks,
    )
    kappa = fitted.best_validation_kappa
    say(
        f"{path}: epoch {fitted.best_epoch} with validation kappa {kappa:.3f}, temperature "
        f"{card.temperature:.3f}, {fitted.steps_per_second:.2f} steps/s, "
        f"{fitted.waiting_share:.1%} of the time waiting for data"
    )
    return path
