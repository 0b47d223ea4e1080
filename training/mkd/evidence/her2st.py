"""High or low ERBB2 of a spot from the tissue about it: one section teaches, the other tests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_hmkd.biomarkers.encoders import find_encoder
from napari_hmkd.device import choose_device
from napari_hmkd.genes.table import GeneTable
from napari_hmkd.training.claim import claimed
from napari_hmkd.training.console import say
from napari_hmkd.training.experiment.provenance import provenance
from napari_hmkd.training.fields import require
from napari_hmkd.training.files import write_whole
from napari_hmkd.training.mkd.cases import Case
from napari_hmkd.training.mkd.config import CaseTrainerSettings
from napari_hmkd.training.mkd.evidence.approaches import (
    ABMIL,
    FULL_MKD,
    P_ALONE,
    REFERENCE,
    SNN,
    Approach,
    make_run,
)
from napari_hmkd.training.mkd.evidence.markdown import auc_table
from napari_hmkd.training.mkd.evidence.runner import training_digest
from napari_hmkd.training.mkd.evidence.scoring import Scores, score_answers
from napari_hmkd.training.mkd.evidence.spot_bags import TILE_PX, bag_path, write_bags
from napari_hmkd.training.mkd.evidence.spots import (
    AMPLICON,
    BLOCK,
    LEAST_COUNTS,
    SLIDES,
    Spot,
    read_expression,
    read_spots,
)
from napari_hmkd.training.mkd.fold_run import FoldRun
from napari_hmkd.training.mkd.scoring import FoldAnswers
from napari_hmkd.training.piecework import (
    deadline_of,
    own_words,
    piece_processes,
    run_pieces,
    threads_each,
)
from napari_hmkd.training.run import file_digest, write_json

WHAT_IT_IS = "same patient, neighbouring sections: a plumbing test on real tissue"
PLAN, RESULTS, TABLE = "plan.json", "results.json", "table.md"
SEEDS = (0, 1, 2, 3, 4)
APPROACHES = (P_ALONE, ABMIL, FULL_MKD, SNN)
TOP_GENES = 2048
SETTINGS = CaseTrainerSettings(epochs=60)
OWN_SOURCE = tuple(f"mkd/evidence/{name}.py" for name in ("her2st", "spot_bags", "spots"))
"""Which spots are cases, what their bags, labels and genes are, and how they are divided."""


@dataclass(frozen=True)
class Piece:
    """One training run; `train` names the section that teaches."""

    train: str
    approach: Approach
    seed: int

    @property
    def test(self) -> str:
        """The other section."""
        return next(section for section in SLIDES if section != self.train)

    @property
    def direction(self) -> str:
        """For tables."""
        return f"{self.train} to {self.test}"

    @property
    def name(self) -> str:
        """Name of its run folder."""
        return f"{self.train}-{self.test}-{self.approach.key}-seed{self.seed}"


PIECES = tuple(
    Piece(section, approach, seed)
    for seed in SEEDS
    for section in SLIDES
    for approach in APPROACHES
)


@dataclass(frozen=True)
class Place:
    """Where it lies and computes; `jobs` pieces at once share CPU and memory."""

    data: Path
    folder: Path
    device: str
    jobs: int


def run_her2st(data: Path, out: Path, *, jobs: int, minutes: float, device: str) -> bool:
    """Make bags, train what is missing, and write the table; False where `minutes` were not enough.

    Parameters
    ----------
    data : Path
        The folder with `her2st` and `slides` in it.
    out : Path
        New, or one in which the same was begun.
    jobs, minutes, device
        As of `run_evidence`.

    Raises
    ------
    HmkdError
        If the data is not there or cannot be read, `out` holds something else, or another process
        is at work in it.
    """
    require("minutes", minutes, 0)
    stop_at = time.time() + 60 * minutes
    place = Place(data, out, str(choose_device(device)), jobs)
    spots, encoder, program = read_spots(data), find_encoder("demo"), training_digest(*OWN_SOURCE)
    tables = [
        data / "her2st" / name for name in ("spots.csv", *(f"{one}.tsv.gz" for one in SLIDES))
    ]
    wanted = {
        "program": program,
        "settings": asdict(SETTINGS),
        "cases": [TILE_PX, LEAST_COUNTS, BLOCK],
        "genes": [TOP_GENES, *AMPLICON],
        "encoder_sha256": encoder.sha256,
        "tables": [file_digest(one) for one in tables],
    }
    with claimed(out, PLAN, wanted, "her2st"):
        write_bags(data, spots, encoder, out / "bags")
        missing = [piece for piece in PIECES if not run_of(piece, place).finished]
        say(f"{len(PIECES) - len(missing)} of {len(PIECES)} runs are done")
        work = partial(train_piece, place=place, stop_at=stop_at)
        with piece_processes(jobs) as pool:
            if not run_pieces(missing, work, pool, lambda piece: piece.name):
                return False
        write_results(place, {**provenance(place.device), "program": program})
        return True


def train_piece(piece: Piece, place: Place, stop_at: float) -> bool:
    """Train a piece, or go on with it; False where the clock (`time.time`) said stop first."""
    if time.time() >= stop_at:
        return False
    with own_words(place.folder / "logs" / f"{piece.name}.txt", threads_each(place.jobs)):
        return run_of(piece, place).train(deadline_of(stop_at))


def run_of(piece: Piece, place: Place) -> FoldRun:
    """A piece's run: the section that teaches is divided by blocks, the other is tested."""
    spots, genes = _usable(place.data)
    cases = cases_of(spots, piece.train, place.folder / "bags")
    test = [index for index, spot in enumerate(spots) if spot.section == piece.test]
    folder, engine = place.folder / "runs" / piece.name, replace(SETTINGS, seed=piece.seed)
    where = place.device, place.jobs
    return make_run(folder, piece.approach, cases, test, genes, engine, TOP_GENES, *where)


def cases_of(spots: Sequence[Spot], train: str, bags: Path) -> list[Case]:
    """Spots as cases: 1 where ERBB2 is above the median of the section that teaches."""
    middle = np.median([spot.erbb2_cp10k for spot in spots if spot.section == train])
    return [
        Case(
            name=spot.name,
            patient=spot.block,
            bags=(bag_path(bags, train, spot),),
            label=int(spot.erbb2_cp10k > middle),
            genes=spot.name,
        )
        for spot in spots
    ]


def write_results(place: Place, about: Mapping[str, Any]) -> None:
    """Score all pieces; write `results.json`, then `table.md`."""
    found: dict[str, Scores] = {}
    for train in SLIDES:
        answers: dict[str, list[FoldAnswers]] = {}
        for approach in APPROACHES:
            own = [run_of(Piece(train, approach, s), place).answers() for s in SEEDS]
            for network, title in approach.titles:
                answers[title] = [by_network[network] for by_network in own]
        found[Piece(train, P_ALONE, 0).direction] = score_answers(answers, REFERENCE)
    left_out = {"genes_left_out": AMPLICON, "least_counts": LEAST_COUNTS}
    write_json(place.folder / RESULTS, {"what": WHAT_IT_IS, **about, **left_out, "auc": found})
    seeds = ", ".join(map(str, SEEDS))
    lines = [
        f"{WHAT_IT_IS.capitalize()}. `napari-hmkd-train mkd-her2st DATA OUT`, {about['date']}, "
        f"{about['hardware']}, program {about['program']}; spots of her2st with at least {LEAST_COUNTS} counts; "
        f"label: ERBB2 per 10,000 counts above the median of the section that teaches; genes without "
        f"ERBB2 and its amplicon ({', '.join(AMPLICON)}); mean over the seeds {seeds} with 95 % intervals "
        "over blocks of 5 x 5 spots of the tested section and seeds: of one patient, they say nothing "
        "about another.",
        "",
        *auc_table(found, "direction", REFERENCE),
    ]
    write_whole(place.folder / TABLE, ("\n".join(lines) + "\n").encode())
    say(f"{place.folder / TABLE}")


@lru_cache(maxsize=1)
def _usable(data: Path) -> tuple[list[Spot], GeneTable]:
    """The spots that can be cases, with their genes in the same order."""
    found = [spot for spot in read_spots(data) if spot.counts >= LEAST_COUNTS]
    spots = sorted(found, key=lambda spot: list(SLIDES).index(spot.section))
    return spots, read_expression(data, spots)
