"""The experiment in resumable pieces: train what is missing, choose on validation, score once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from napari_hmkd.device import choose_device
from napari_hmkd.training.claim import claimed
from napari_hmkd.training.config import Labels
from napari_hmkd.training.console import say
from napari_hmkd.training.experiment.pieces import (
    FAILED_KAPPA,
    Place,
    grade_test,
    grades_file,
    train_piece,
    validation_kappa,
)
from napari_hmkd.training.experiment.plan import (
    FULL,
    QUICK,
    Piece,
    Size,
    teachers,
    tries,
)
from napari_hmkd.training.experiment.provenance import program_digest, provenance
from napari_hmkd.training.experiment.scoring import RESULTS, TABLE, rows_of, score
from napari_hmkd.training.fields import require
from napari_hmkd.training.piecework import piece_processes, run_pieces, threads_each
from napari_hmkd.training.sources.procedural import ProceduralSource
from napari_hmkd.training.store import open_store

PLAN = "plan.json"
Work = Callable[..., bool]


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
        If the folder holds something else, was begun by another version of the program, or another
        process is at work in it.
    """
    require("minutes", minutes, 0)
    stop_at = time.time() + 60 * minutes
    size = QUICK if quick else FULL
    place = Place(folder, str(choose_device(device)), threads_each(jobs))
    wanted = {"size": asdict(size), "program": program_digest()}
    with claimed(folder, PLAN, wanted, "experiment"):
        if (folder / RESULTS).is_file():
            say(f"finished: see {folder / TABLE}")
            return True
        _draw_tiles(size, place)
        with piece_processes(jobs) as pool:
            return _train_and_score(size, place, pool, stop_at)


def _train_and_score(size: Size, place: Place, pool: Executor, stop_at: float) -> bool:
    """Do what is missing, in order; False where time was up."""

    def all_done(pieces: Sequence[Piece], work: Work, done: Callable[[Piece], bool]) -> bool:
        missing = [piece for piece in pieces if not done(piece)]
        say(f"{work.__name__}: {len(pieces) - len(missing)} of {len(pieces)} done")
        given = partial(work, size=size, place=place, stop_at=stop_at)
        return run_pieces(missing, given, pool, lambda piece: _outcome(piece, place))

    def trained(pieces: Sequence[Piece]) -> bool:
        return all_done(pieces, train_piece, lambda piece: place.outcome(piece).is_file())

    if not (trained(teachers()) and trained([p for group in tries() for p in group])):
        return False
    chosen = choose(place)
    rows = {labels: rows_of(labels, chosen) for labels in Labels}
    compared = [piece for table in rows.values() for pieces in table.values() for piece in pieces]
    if not trained(list(dict.fromkeys(compared))):
        return False
    finished = [p for p in dict.fromkeys(compared) if validation_kappa(p, place) > FAILED_KAPPA]
    if not all_done(finished, grade_test, lambda piece: grades_file(piece, place).is_file()):
        return False
    command = f"napari-hmkd-train experiment FOLDER{' --quick' if size == QUICK else ''}"
    score(size, place, rows, {**provenance(place.device), "command": command})
    return True


def choose(place: Place) -> list[Piece]:
    """Of each group of tries, the one that is best on validation."""
    return [max(group, key=lambda p: validation_kappa(p, place)) for group in tries()]


def _draw_tiles(size: Size, place: Place) -> None:
    """Fill the cache once, before processes would do it side by side."""
    for cohort in (size.train_cohort, size.test_cohort):
        open_store(ProceduralSource(cohort, Labels.TILE), place.tiles())


def _outcome(piece: Piece, place: Place) -> str:
    return f"{piece.name}: validation kappa {validation_kappa(piece, place):.3f}"
