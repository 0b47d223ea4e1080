"""Predictions for new bags by a finished run: M for those whose genes are known, else P."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hmkd.bags.bag import bag_shape, find_bags, read_attributes
from napari_hmkd.biomarkers.prediction import require_bag
from napari_hmkd.device import choose_device
from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.model.mkd.card import BiomarkerCard, Target
from napari_hmkd.model.mkd.files import load_biomarkers
from napari_hmkd.training.checkpoints import load_best
from napari_hmkd.training.console import say
from napari_hmkd.training.files import write_whole
from napari_hmkd.training.mkd.approaches import MKD, Shape, build_task
from napari_hmkd.training.mkd.cases import Case
from napari_hmkd.training.mkd.config import MkdRunSettings
from napari_hmkd.training.mkd.export import CHOICE_FILE, MODEL_FILE
from napari_hmkd.training.mkd.fold_run import predict
from napari_hmkd.training.mkd.genes import GeneTable, read_genes
from napari_hmkd.training.mkd.labels import BETWEEN_SLIDES
from napari_hmkd.training.mkd.loader import case_loader
from napari_hmkd.training.mkd.plan import GENES_FILE, fold_folder
from napari_hmkd.training.mkd.selection import GeneSelection
from napari_hmkd.training.mkd.task import M, P
from napari_hmkd.training.mkd.unlabelled import unlabelled_cases
from napari_hmkd.training.scores.calibration import probabilities

COLUMNS = ("bag", "target", "class", "probability", "network", "genes", "case")
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What a run left for predictions: its exported model, and which pieces that came from."""

    folder: Path
    card: BiomarkerCard
    chosen: Mapping[str, Mapping[str, Any]]

    @classmethod
    def open(cls, folder: Path) -> FinishedRun:
        """Read card and choice.

        Raises
        ------
        HmkdError
            If the run is not finished, or its files cannot be read.
        """
        _, card = load_biomarkers(folder / MODEL_FILE)
        path = folder / CHOICE_FILE
        try:
            return cls(folder, card, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}. Name a finished run") from error

    def predict(
        self, target: Target, cases: Sequence[Case], table: GeneTable | None, device: torch.device
    ) -> Floats:
        """(n, classes) probabilities of one target, by M with a table of all cases' genes, else by P."""
        choice = self.chosen[target.name]
        fold = fold_folder(self.folder, target.name, choice["fold"])
        settings, tokens = MkdRunSettings(), None
        token_genes = settings.genes.token_genes
        if choice["approach"] == MKD:
            selection = _read_selection(fold / GENES_FILE)
            token_genes = selection.token_genes
            if table is not None:
                tokens = selection.tokens(table, [case.genes for case in cases])
        shape = Shape(self.card.feature_dim, token_genes, len(target.classes))
        task = build_task(choice["approach"], shape, settings)
        load_best(task, fold / choice["approach"])
        loader = case_loader(cases, np.arange(len(cases)), tokens)
        logits, _ = predict(task, loader, device)
        network = P if tokens is None else M
        return probabilities(logits[network], choice["temperature"][network])


def predict_bags(
    run: Path,
    bags: Path,
    genes: Path | None,
    out: Path,
    device: str,
    case_table: Path | None = None,
) -> None:
    """Write the probabilities of every case, target and class.

    The bags of a case are judged together, as in training; `bag` names them, with ";" between, and
    `case` the case. A bag of no case, as all are without a table, is judged by itself. Those with
    genes are predicted by M, the others by P; the column `network` says by which.

    Parameters
    ----------
    run : Path
        Folder of a finished run.
    bags : Path
        Folder of bags.
    genes : Path, optional
        Table of genes; it may lack bags.
    out : Path
        CSV file that is not there yet.
    device : str
        As for training.
    case_table : Path, optional
        Table of cases; it may list their slides, and lack bags.

    Raises
    ------
    HmkdError
        If the run is not finished, or bags, genes or cases do not fit it.
    """
    if out.exists():
        raise OutputError(f"{out} exists: name a new file with --out")
    chosen_device, finished = choose_device(device), FinishedRun.open(run)
    table = None if genes is None else read_genes(genes)
    cases = unlabelled_cases(find_bags(bags), case_table, table)
    for path in (path for case in cases for path in case.bags):
        require_bag(path.name, bag_shape(path)[1], read_attributes(path), finished.card)
    rows: list[tuple[str, ...]] = []
    for target in finished.card.targets:
        can_use = table is not None and finished.chosen[target.name]["approach"] == MKD
        with_genes = [case for case in cases if case.genes and can_use]
        without = [case for case in cases if not (case.genes and can_use)]
        for network, group, given in ((M, with_genes, table), (P, without, None)):
            if not group:
                continue
            found = finished.predict(target, group, given, chosen_device)
            rows += _rows(target, network, group, found)
        say(f"{target.name}: {len(with_genes)} by M, {len(without)} by P")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows.sort(key=lambda row: row[:2])  # classes stay in the card's order
    writer.writerows(rows)
    write_whole(out, text.getvalue().encode())


def _rows(
    target: Target, network: str, cases: Sequence[Case], found: Floats
) -> list[tuple[str, ...]]:
    return [
        (
            BETWEEN_SLIDES.join(path.stem for path in case.bags),
            *(target.name, name, f"{p:.7g}", network),
            *(case.genes if network == M else "", case.name),
        )
        for case, of_case in zip(cases, found, strict=True)
        for name, p in zip(target.classes, of_case, strict=True)
    ]


def _read_selection(path: Path) -> GeneSelection:
    try:
        return GeneSelection.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Name a finished run") from error
