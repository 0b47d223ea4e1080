"""Train one piece of the evidence, and keep what its networks make of the test patients."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save

from napari_hmkd.bags.bag import find_bags
from napari_hmkd.genes.reading import read_genes
from napari_hmkd.genes.table import GeneTable
from napari_hmkd.training.files import write_whole
from napari_hmkd.training.mkd.cases import Case, join_cases
from napari_hmkd.training.mkd.cohort.writing import CohortFiles, case_name
from napari_hmkd.training.mkd.config import CaseTrainerSettings
from napari_hmkd.training.mkd.evidence.approaches import make_run
from napari_hmkd.training.mkd.evidence.plan import EMBEDDED, Piece, Size
from napari_hmkd.training.mkd.fold_run import FoldRun
from napari_hmkd.training.mkd.labels import read_labels
from napari_hmkd.training.mkd.task import MkdTask
from napari_hmkd.training.piecework import deadline_of, own_words, threads_each

EMBEDDINGS_FILE = "embeddings.safetensors"
Embeddings = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Place:
    """Where the evidence lives and computes; `jobs` pieces at once share CPU and memory."""

    folder: Path
    cohort: Path
    device: str
    jobs: int

    @property
    def files(self) -> CohortFiles:
        """The cohort's."""
        return CohortFiles(self.cohort)

    def embeddings(self, piece: Piece) -> Path:
        """What a finished piece writes last, empty where it has no embeddings to ask."""
        return self.folder / "runs" / piece.name / EMBEDDINGS_FILE


def train_piece(piece: Piece, size: Size, place: Place, stop_at: float) -> bool:
    """Train a piece, or go on with it; False where the clock (`time.time`) said stop first."""
    if time.time() >= stop_at:
        return False
    with own_words(place.folder / "logs" / f"{piece.name}.txt", threads_each(place.jobs)):
        run = run_of(piece, size, place)
        if not run.finished and not run.train(deadline_of(stop_at)):
            return False
        content = save(embed(run) if piece.approach in EMBEDDED else {})
    write_whole(place.embeddings(piece), content)
    return True


def run_of(piece: Piece, size: Size, place: Place) -> FoldRun:
    """A piece's run."""
    cases, genes = _cases(place.files, piece.target), _genes(place.files)
    tested = set(test_names(size))
    test = [index for index, case in enumerate(cases) if case.name in tested]
    engine = CaseTrainerSettings(epochs=size.epochs, patience=size.patience, seed=piece.seed)
    folder, top_genes = place.embeddings(piece).parent, size.design.genes
    where = place.device, place.jobs
    return make_run(folder, piece.approach, cases, test, genes, engine, top_genes, *where)


def test_names(size: Size) -> list[str]:
    """The test patients in their order."""
    count = size.design.patients
    return [case_name(number) for number in range(count - size.test_patients, count)]


def embed(run: FoldRun) -> Embeddings:
    """(test cases, 256) of each network of a finished run, in the order of its answers."""
    task = run.trained_task()
    assert isinstance(task, MkdTask)
    task.to(run.device).eval()
    with torch.inference_mode():
        batches = [task.outputs(batch.to(run.device)) for batch in run.open_data().part("test")]
    return {
        name: torch.cat([batch[name].embedding.float().cpu() for batch in batches]).numpy()
        for name in batches[0]
    }


def read_embeddings(path: Path) -> Embeddings:
    """What `train_piece` wrote."""
    return load(path.read_bytes())


@lru_cache(maxsize=8)
def _cases(files: CohortFiles, target: str) -> list[Case]:
    labels = read_labels(files.labels, target)
    return join_cases(find_bags(files.bags), _genes(files), labels)[0]


@lru_cache(maxsize=1)
def _genes(files: CohortFiles) -> GeneTable:
    return read_genes(files.genes)
