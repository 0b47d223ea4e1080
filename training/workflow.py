"""A training run from start to end, in the order that writes nothing on bad input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from napari_hmkd.device import choose_device
from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.model import load, save
from napari_hmkd.model.checkpoint import as_stored
from napari_hmkd.training.attention_watch import AttentionWatch
from napari_hmkd.training.checkpoints import read_progress
from napari_hmkd.training.config import TrainSettings
from napari_hmkd.training.console import say, silence
from napari_hmkd.training.data import TileData, batch_of_process
from napari_hmkd.training.engine import Engine, Fit
from napari_hmkd.training.graders import Grader, predict_logits
from napari_hmkd.training.leaks import PictureDigests
from napari_hmkd.training.run import DATA, SHOWN_CHANGES, RunFolder
from napari_hmkd.training.run_plan import RunPlan, plan_run, resolved
from napari_hmkd.training.scores.attention import attention_pictures
from napari_hmkd.training.scores.calibration import Calibration, calibrate
from napari_hmkd.training.scores.evaluation import write_evaluation
from napari_hmkd.training.separation import picture_digests, refuse_leaks
from napari_hmkd.training.sources.opening import kind_of_labels
from napari_hmkd.training.statistics import SettledStatistics
from napari_hmkd.training.store import PairStore, open_store, store_at_hand
from napari_hmkd.training.tasks import MONITOR
from napari_hmkd.training.taught import refuse_seen_by_teacher
from napari_hmkd.wording import counted, some_of


@dataclass(frozen=True)
class _Judged:
    """The digests of all tiles, and what the scores have to say about split and teacher."""

    digests: Sequence[PictureDigests]
    about: dict[str, Any] = field(default_factory=dict)


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
        If the input is bad, and nothing has been written to `out` then; or if another run is at
        work there.

    Notes
    -----
    A run on several machines shares `out`, as each process reads its checkpoints: start the same
    command on each with torchrun (`torchrun --nnodes 2 --nproc-per-node 4 ... -m
    napari_hmkd.training.cli teacher ... --nodes 2 --devices 4`), or with srun in a SLURM job of as
    many tasks per node as `--devices`. On one machine the command starts its processes itself.
    """
    device = choose_device(settings.compute.device)
    settings = resolved(data, settings, device)
    engine = Engine(
        settings.engine, settings.compute, device, out, deadline,
        monitor=MONITOR, callbacks=[SettledStatistics(), AttentionWatch(out)],
    )  # fmt: skip
    with RunFolder(out, resume=resume) as folder:
        if engine.leads:
            folder.require_usable()
        else:
            silence()
        plan = plan_run(data, out.resolve().name, settings, role, teacher)
        batch_of_process(len(plan.split.train), settings.compute.batch_size, engine.ranks)
        if folder.resuming:
            if not engine.was_spawned:  # the process that started this one has looked
                require_same_data(plan, folder, renew=engine.leads)
            if (weights := folder.finished(role)) is not None:
                say(f"the run in {out} is finished: {weights}")
                return weights if engine.leads else None
            if engine.leads:
                folder.hold()
        return _train(plan, folder, engine, device)


def require_same_data(plan: RunPlan, folder: RunFolder, *, renew: bool) -> None:
    """Refuse to go on with other settings, tiles or pictures than at the start.

    Files are compared first. Those that were saved anew are decoded: with the same pixels they are the same.
    Rendered tiles have no pixels to compare at the start.

    Parameters
    ----------
    plan : RunPlan
        What is asked now.
    folder : RunFolder
        Of the run that shall go on.
    renew : bool
        Whether its record shall name files that were saved anew, so that they are decoded this once.

    Raises
    ------
    DataError
        Naming what differs.
    OutputError
        If the record of the run cannot be read.
    """
    tiles = plan.source.tiles
    folder.require_same(plan.record, plan.split, tiles)
    data = plan.data_digest
    if folder.record().get(DATA) == data:
        return
    pairs = zip(tiles, folder.digests(tiles), picture_digests(plan.source), strict=True)
    changed = [tile.name for tile, old, new in pairs if old != new or plan.source.renders]
    if not changed:
        if renew:
            _renew(folder, data)
        return
    raise DataError(
        f"the data is no longer that with which the run in {folder.path} was started: {len(changed)} of "
        f"{counted(len(tiles), 'tile')} have other pictures ({some_of(changed, SHOWN_CHANGES)}): "
        "give the data of the start, or name a new folder with --out"
    )


def _renew(folder: RunFolder, data: str) -> None:
    """Note by what the data is known now; a folder that can only be read takes no harm."""
    try:
        folder.renew({DATA: data})
    except OutputError as error:
        say(f"the next --resume will compare the pictures again: {error}")


def _train(plan: RunPlan, folder: RunFolder, engine: Engine, device: torch.device) -> Path | None:
    """Begin or go on, train, calibrate, export and score; None as for `train`."""
    out = folder.path
    progress = read_progress(out, plan.task, repair=engine.leads) if folder.resuming else None
    record = dict(plan.record)
    if engine.leads and not folder.resuming:
        # Before pictures are compared: one that changes meanwhile then differs on --resume.
        record[DATA] = plan.data_digest
    at_hand = store_at_hand(plan.source, plan.settings.data, plan.settings.compute.devices)
    judged = _judge_split(plan, folder, engine, at_hand)
    tiles = _open_tiles(plan, engine, at_hand)
    if engine.leads:
        _begin(plan, folder, record, judged.digests)
    fitted = engine.fit(plan.task, tiles, progress)
    if fitted is None or not engine.leads:
        return None
    calibration = _calibrate(plan, tiles, device)
    path = _export(plan, calibration, out)
    _score(path, plan, tiles, device, fit=fitted, remarks=calibration.remarks, **judged.about)
    return path


def _judge_split(
    plan: RunPlan, folder: RunFolder, engine: Engine, at_hand: PairStore | None
) -> _Judged:
    """Refuse a split, or a teacher, that would make the scores untrue.

    This looks at every picture, so it comes last, and not again for a run that goes on with the same
    data and split. What it decodes stays in memory as far as that is allowed. Processes that another one
    will spawn do not exist before that one is through; those that torchrun or SLURM started each look, as
    none may wait for one that left.
    """
    if engine.was_spawned:
        return _Judged([])
    if folder.resuming:
        digests = folder.digests(plan.source.tiles)
    else:
        digests = picture_digests(plan.source, at_hand)
    accept = plan.settings.split.accept_leaks or folder.resuming  # it was let pass at its start
    about: dict[str, Any] = {}
    if plan.teacher is not None:
        about["teacher_split"] = refuse_seen_by_teacher(
            plan.teacher, plan.source.tiles, plan.split, digests, accept
        )
    if leaks := refuse_leaks(plan.source, plan.split, digests, accept):
        about["accepted_leaks"] = leaks
    return _Judged(digests, about)


def _open_tiles(plan: RunPlan, engine: Engine, at_hand: PairStore | None) -> TileData:
    """The tiles for this process."""
    settings = plan.settings
    return TileData(
        plan.source.tiles,
        at_hand or open_store(plan.source, settings.data, settings.compute.devices),
        plan.split,
        settings.augment,
        batch_size=settings.compute.batch_size,
        seed=settings.engine.seed,
        rank=engine.rank,
        ranks=engine.ranks,
    )


def _begin(
    plan: RunPlan, folder: RunFolder, record: dict[str, Any], digests: Sequence[PictureDigests]
) -> None:
    """Write the first files of a new run, and say what is trained on."""
    if not folder.resuming:
        folder.create(record, plan.split, plan.source.tiles, digests, plan.teacher)
    sizes = ", ".join(f"{len(indices)} {part}" for part, indices in plan.split.parts().items())
    say(f"{plan.source.training_data}\n{sizes} ({plan.split.note})")


def _calibrate(plan: RunPlan, data: TileData, device: torch.device) -> Calibration:
    """Fit temperature and thresholds to the network as its file, perhaps halved, will have it."""
    task, settings = plan.task, plan.settings
    stored = as_stored(task.network, task.card, half=settings.export.half)
    held = data.part(plan.split.calibration)
    logits = predict_logits(Grader(stored, task.card), held, settings.compute.batch_size, device)
    return calibrate(logits, held.grades, task.card.conformal_level)


def _export(plan: RunPlan, calibration: Calibration, out: Path) -> Path:
    """Write weights and card."""
    card = replace(
        plan.task.card,
        temperature=calibration.temperature,
        conformal_level=calibration.level,
        conformal_thresholds=calibration.thresholds,
    )
    path = out / f"{card.role}.safetensors"
    save(path, plan.task.network, card, half=plan.settings.export.half)
    return path


def _score(
    path: Path,
    plan: RunPlan,
    data: TileData,
    device: torch.device,
    *,
    fit: Fit,
    remarks: tuple[str, ...],
    **about: Any,
) -> None:
    """Score the file once on the test part, on validation where there is none."""
    network, card = load(path)
    part = "test" if len(plan.split.test) else "validation"
    indices = plan.split.parts()[part]
    size = plan.settings.compute.batch_size
    logits = predict_logits(Grader(network, card), data.part(indices), size, device)
    write_evaluation(
        path.parent,
        [data.tiles[i] for i in indices],
        {card.role: logits},
        {card.role: card},
        part=part,
        attention=attention_pictures(path.parent),
        data=plan.source.training_data,
        labels=kind_of_labels(plan.settings.data.labels, plan.source.tiles),
        split=plan.split.note,
        fit=asdict(fit),
        calibration_remarks=remarks,
        **about,
    )
    say(
        f"{path}: epoch {fit.best_epoch} with validation kappa {fit.best_validation_score:.3f}, "
        f"temperature {card.temperature:.3f}, {fit.steps_per_second:.2f} steps/s, "
        f"{fit.waiting_share:.1%} of the time waiting for data"
    )
