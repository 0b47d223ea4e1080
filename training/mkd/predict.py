"""Predictions for new bags by a finished run: M for those whose genes are known, else P."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from napari_hmkd.bags.bag import find_bags, read_attributes, read_header
from napari_hmkd.biomarkers.case_genes import GeneSource, open_genes
from napari_hmkd.biomarkers.prediction import BiomarkerModel, open_biomarkers, require_bag
from napari_hmkd.bootstrap import Floats
from napari_hmkd.device import choose_device
from napari_hmkd.errors import DataError
from napari_hmkd.model.mkd.card import Target
from napari_hmkd.model.mkd.outputs import M, P
from napari_hmkd.training.console import say
from napari_hmkd.training.files import make_folder, require_new_file, write_csv
from napari_hmkd.training.mkd.approaches import CROSS_ENTROPY_ALONE
from napari_hmkd.training.mkd.bag_store import BagStore
from napari_hmkd.training.mkd.cases import Case
from napari_hmkd.training.mkd.config import AdamWSettings
from napari_hmkd.training.mkd.export import MODEL_FILE
from napari_hmkd.training.mkd.fold_run import predict
from napari_hmkd.training.mkd.labels import BETWEEN_SLIDES
from napari_hmkd.training.mkd.loader import case_loader
from napari_hmkd.training.mkd.task import MkdTask
from napari_hmkd.training.mkd.unlabelled import unlabelled_cases
from napari_hmkd.training.scores.calibration import probabilities

COLUMNS = ("bag", "target", "class", "probability", "network", "genes", "case")


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
        CSV file that is not there yet; its folder is made.
    device : str
        As for training.
    case_table : Path, optional
        Table of cases; it may list their slides, and lack bags.

    Raises
    ------
    HmkdError
        If the run is not finished, bags, genes or cases do not fit it, or `out` cannot be there.
    """
    require_new_file(out)
    if not os.path.isfile(run / MODEL_FILE):
        raise DataError(
            f"asked for the finished run of `mkd` in {run}, but it has no {MODEL_FILE}: name the folder "
            "that was its --out; one that was stopped goes on with --resume"
        )
    chosen_device, model = choose_device(device), open_biomarkers(run / MODEL_FILE)
    source = None if genes is None else open_genes(genes, model.path, model.card)
    cases = unlabelled_cases(find_bags(bags), case_table, None if source is None else source.table)
    for path in (path for case in cases for path in case.bags):
        require_bag(path.name, read_header(path).features, read_attributes(path), model.card)
    make_folder(out.parent)  # before the cases are judged
    with_genes = [case for case in cases if case.genes]
    without = [case for case in cases if not case.genes]
    if source is not None and (
        warning := source.scale_warning([case.genes for case in with_genes])
    ):
        say(f"warning: {warning}")
    rows: list[tuple[str, ...]] = []
    store = BagStore()
    for target in model.card.targets:
        for network, group, its_source in ((M, with_genes, source), (P, without, None)):
            if group:
                found = _predicted(target, group, model, its_source, store, chosen_device)
                rows += _rows(target, network, group, found)
    say(f"{len(with_genes)} by M, {len(without)} by P")
    rows.sort(key=lambda row: row[:2])  # classes stay in the card's order
    write_csv(out, COLUMNS, rows)


def _predicted(
    target: Target,
    cases: Sequence[Case],
    model: BiomarkerModel,
    source: GeneSource | None,
    store: BagStore,
    device: torch.device,
) -> Floats:
    """(n, classes) probabilities of one target, by M with a source of all cases' genes, else by P."""
    network, temperature, multimodal, tokens = P, target.temperature, None, None
    if source is not None:
        assert target.temperature_with_genes is not None  # `open_genes` refuses a model without M
        network, temperature = M, target.temperature_with_genes
        chosen = source.models[target.name]
        multimodal = chosen.network
        tokens = chosen.genes.tokens(source.table, [case.genes for case in cases])
    task = MkdTask(
        model.networks[target.name], multimodal, None, CROSS_ENTROPY_ALONE, AdamWSettings()
    )
    logits, _ = predict(task, case_loader(cases, np.arange(len(cases)), tokens, store), device)
    return probabilities(logits[network], temperature)


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
