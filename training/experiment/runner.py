"""The experiment in resumable pieces: train what is missing, choose on validation, score once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import asdict
from pathlib import Path

from napari_hmkd.device import choose_device
from napari_hmkd.errors import OutputError
from napari_hmkd.training.config import DataSettings, Labels, Method
from napari_hmkd.training.console import say
from napari_hmkd.training.experiment.pieces import (
    Place,
    is_finished,
    run_piece,
    validation_kappa,
)
from napari_hmkd.training.experiment.plan import (
    FULL,
    QUICK,
    RIVALS,
    VARIANTS,
    Piece,
    Size,
    first_students,
    other_seeds,
    student,
    teachers,
)
from napari_hmkd.training.experiment.scoring import RESULTS, score
from napari_hmkd.training.parallel import processes
from napari_hmkd.training.run import write_json
from napari_hmkd.training.sources.procedural import ProceduralSource
from napari_hmkd.training.store import open_store

PLAN = "plan.json"


def run_experiment(folder: Path, *, quick: bool, jobs: int, minutes: float, device: str) -> bool:
    """Train and score what is missing in `folder`; False where `minutes` were not enough.

    Parameters
    ----------
    folder : Path
        New, or one in which the experiment of the same size was begun.
    quick : bool
        The size for two CPU cores in place of the one for a GPU.
    jobs : int
        Training runs at once, each a process.
    minutes : float
        No epoch is begun after so many; a later call goes on.
    device : str
        As for training.

    Raises
    ------
    OutputError
        If the folder holds something else.
    """
    stop_at = time.time() + 60 * minutes
    size = QUICK if quick else FULL
    threads = max(1, (os.cpu_count() or 1) // jobs)
    place = Place(folder, str(choose_device(device)), threads)
    _claim(folder, size)
    if (folder / RESULTS).is_file():
        say(f"finished: see {folder / RESULTS}")
        return True
    _draw_tiles(size, place)
    for pieces in (teachers(), first_students()):
        if not _run_all(pieces, size, place, jobs, stop_at):
            return False
    chosen = [best for labels in Labels for best in choose(labels, place)]
    if not _run_all([p for best in chosen for p in other_seeds(best)], size, place, jobs, stop_at):
        return False
    score(size, place, chosen)
    return True


def choose(labels: Labels, place: Place) -> tuple[Piece, Piece]:
    """The rival and the variant of HM-KD that are best on validation with the first seed."""
    rivals = [student(labels, 0, method) for method in RIVALS]
    variants = [student(labels, 0, Method.HMKD, name) for name in VARIANTS]
    best = [max(group, key=lambda p: validation_kappa(p, place)) for group in (rivals, variants)]
    return best[0], best[1]


def _claim(folder: Path, size: Size) -> None:
    """Write the size into a new folder, or check that the folder is this size's."""
    wanted = json.loads(json.dumps(asdict(size)))
    path = folder / PLAN
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != wanted:
            raise OutputError(f"{folder} holds an experiment of another size: name a new folder")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists and is no experiment's folder: name a new one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error}") from error
    write_json(path, wanted)


def _draw_tiles(size: Size, place: Place) -> None:
    """Fill the cache once, before processes would do it side by side."""
    for cohort in (size.train_cohort, size.test_cohort):
        source = ProceduralSource(cohort, Labels.TILE)
        open_store(source, DataSettings(cache=place.tiles()))


def _run_all(pieces: Sequence[Piece], size: Size, place: Place, jobs: int, stop_at: float) -> bool:
    """Run what is not finished; False where time was up before all were."""
    missing = [piece for piece in pieces if not is_finished(piece, place)]
    done = len(pieces) - len(missing)
    with processes(jobs) as pool:
        running = {pool.submit(run_piece, p, size, place, stop_at): p for p in missing}
        try:
            for future in as_completed(running):
                if not future.result():
                    continue
                done += 1
                piece = running[future]
                kappa = validation_kappa(piece, place)
                say(f"{done}/{len(pieces)}  {piece.name}: validation kappa {kappa:.3f}")
        finally:
            pool.shutdown(cancel_futures=True)
    if done < len(pieces):
        say(f"time is up with {done} of {len(pieces)} of this stage finished: call again to go on")
    return done == len(pieces)
