"""The evidence on drawn patients in resumable pieces: draw, train what is missing, score once."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from napari_hmkd import bags, genes, model, sample, training
from napari_hmkd.device import choose_device
from napari_hmkd.training.claim import claimed
from napari_hmkd.training.console import say
from napari_hmkd.training.experiment.provenance import provenance, source_digest
from napari_hmkd.training.fields import require
from napari_hmkd.training.mkd.cohort.writing import write_cohort
from napari_hmkd.training.mkd.evidence.pieces import Place, train_piece
from napari_hmkd.training.mkd.evidence.plan import FULL, QUICK, pieces
from napari_hmkd.training.mkd.evidence.results import RESULTS, TABLE, write_results
from napari_hmkd.training.piecework import piece_processes, run_pieces

PLAN = "plan.json"
_OF_EVIDENCE = "command her2st markdown readout results scoring spot_bags spots"
_OF_SCORES = (
    "attention compare evaluation markdown page paired pictures pooled predictions report selection "
    "tables"
)
NOT_TRAINING = (
    *("cli.py", "features.py", "options.py", "sources"),
    *("mkd/command.py", "mkd/results.py", "mkd/table.py"),
    *(f"mkd/evidence/{name}.py" for name in _OF_EVIDENCE.split()),
    *(f"experiment/{name}.py" for name in ("pieces", "plan", "runner", "scoring")),
    *(f"scores/{name}.py" for name in _OF_SCORES.split()),
)
"""Parts of the packages that have no say in what a network learns of the drawn cohort."""


def run_evidence(
    folder: Path, *, quick: bool, jobs: int, minutes: float, device: str, cohort: Path | None = None
) -> bool:
    """Train and score what is missing in `folder`; False where `minutes` were not enough.

    Parameters
    ----------
    folder : Path
        New, or one in which the evidence of the same size was begun.
    quick : bool
        The size for two CPU cores.
    jobs : int
        Processes at once.
    minutes : float
        No epoch is begun after so many; drawing the cohort is not counted. A later call goes on.
    device : str
        As for training.
    cohort : Path, optional
        Where the size's cohort was drawn before; default: within the folder.

    Raises
    ------
    HmkdError
        If a folder holds something else or was begun by another version of the program, another
        process is at work in one, or a network cannot be trained.
    """
    require("minutes", minutes, 0)
    size = QUICK if quick else FULL
    place = Place(folder, cohort or folder / "cohort", str(choose_device(device)), jobs)
    program = training_digest()
    with claimed(folder, PLAN, {"size": asdict(size), "program": program}, "evidence"):
        if (folder / RESULTS).is_file() and (folder / TABLE).is_file():
            say(f"finished: see {folder / TABLE}")
            return True
        write_cohort(place.cohort, size.design, jobs=jobs)
        stop_at = time.time() + 60 * minutes
        every = pieces(size)
        missing = [piece for piece in every if not place.embeddings(piece).is_file()]
        say(f"{len(every) - len(missing)} of {len(every)} runs are done")
        work = partial(train_piece, size=size, place=place, stop_at=stop_at)
        with piece_processes(jobs) as pool:
            if not run_pieces(missing, work, pool, lambda piece: piece.name):
                return False
        command = f"napari-hmkd-train mkd-evidence FOLDER{' --quick' if quick else ''}"
        about = {**provenance(place.device), "program": program, "command": command}
        write_results(size, place, about)
        return True


def training_digest(*also: str) -> str:
    """A digest of the source that decides what is drawn and learned.

    Parameters
    ----------
    *also : str
        Of `NOT_TRAINING` what does have a say in another evidence.
    """
    without = set(NOT_TRAINING) - set(also)
    return source_digest(bags, genes, model, sample, training, without=without)
