"""What the test patients say about every finished piece, written as JSON and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_hmkd.bags.bag import read_bag
from napari_hmkd.bootstrap import Floats
from napari_hmkd.genes.reading import read_genes
from napari_hmkd.training.console import say
from napari_hmkd.training.files import write_whole
from napari_hmkd.training.mkd.cohort.design import FACTORS, DrawnTarget
from napari_hmkd.training.mkd.cohort.factors import (
    VIEWS,
    Factors,
    draw_factors,
    oracle_scores,
)
from napari_hmkd.training.mkd.evidence.approaches import FULL_MKD, P_ALONE, REFERENCE, WITHOUT
from napari_hmkd.training.mkd.evidence.markdown import auc_table, readout_table
from napari_hmkd.training.mkd.evidence.pieces import Place, read_embeddings, run_of, test_names
from napari_hmkd.training.mkd.evidence.plan import APPROACHES, SEEDS, Piece, Size
from napari_hmkd.training.mkd.evidence.scoring import Scores, score_answers, score_readouts
from napari_hmkd.training.mkd.scoring import FoldAnswers
from napari_hmkd.training.run import write_json

RESULTS, TABLE = "results.json", "table.md"
READ_OUT = {P_ALONE: "P alone", FULL_MKD: "MKD", WITHOUT[0]: "MKD without L_CORAL + L_OR"}
"""Approaches whose embeddings the second table asks for the factors; all are kept on the disk."""
INPUTS = "inputs"


def write_results(size: Size, place: Place, about: Mapping[str, Any]) -> None:
    """Score all pieces; write `results.json`, then `table.md`."""
    factors = test_factors(size)
    aucs: dict[str, Scores] = {}
    readouts: dict[str, Scores] = {INPUTS: _readouts_of_inputs(size, place, factors)}
    for target in size.design.targets:
        say(f"scoring {target.name}")
        aucs[target.name] = score_answers(
            _answers(target, size, place), REFERENCE, _oracles(target, size, factors)
        )
        readouts[target.name] = score_readouts(
            _embeddings(target, place), _columns(factors), test_names(size)
        )
    found = {**about, "auc": aucs, "r_squared": readouts}
    write_json(place.folder / RESULTS, found)
    text = "\n".join(_page(size, about, aucs, readouts)) + "\n"
    write_whole(place.folder / TABLE, text.encode())
    say(f"{place.folder / TABLE}")


def test_factors(size: Size) -> Factors:
    """Their truth, drawn anew as it was drawn for the cohort."""
    factors = draw_factors(size.design)
    last = slice(size.design.patients - size.test_patients, None)
    return Factors(factors.hidden[last], factors.shown[last])


def _columns(factors: Factors) -> dict[str, Floats]:
    return {name: factors.hidden[:, column] for column, name in enumerate(FACTORS)}


def _oracles(target: DrawnTarget, size: Size, factors: Factors) -> dict[str, Floats]:
    return {f"oracle, {view}": oracle_scores(size.design, factors, target, view) for view in VIEWS}


def _answers(target: DrawnTarget, size: Size, place: Place) -> dict[str, list[FoldAnswers]]:
    found: dict[str, list[FoldAnswers]] = {}
    for approach in APPROACHES:
        answers = [run_of(Piece(target.name, approach, s), size, place).answers() for s in SEEDS]
        for network, title in approach.titles:
            found[title] = [by_network[network] for by_network in answers]
    return found


def _embeddings(target: DrawnTarget, place: Place) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for approach, title in READ_OUT.items():
        paths = [place.embeddings(Piece(target.name, approach, seed)) for seed in SEEDS]
        for path in paths:
            for network, embedding in read_embeddings(path).items():
                found.setdefault(f"{title}: H_{network}", []).append(embedding)
    return found


def _readouts_of_inputs(size: Size, place: Place, factors: Factors) -> Scores:
    """What the same regression reads off features and genes themselves."""
    names = test_names(size)
    bags = np.stack([read_bag(place.files.bag(name)).features.mean(axis=0) for name in names])
    genes = read_genes(place.files.genes).rows(names)
    inputs = {"features, mean of the bag": [bags], "genes": [genes]}
    return score_readouts(inputs, _columns(factors), names)


def _page(
    size: Size,
    about: Mapping[str, Any],
    aucs: Mapping[str, Scores],
    readouts: Mapping[str, Scores],
) -> Sequence[str]:
    design, seeds = size.design, ", ".join(map(str, SEEDS))
    return [
        f"`{about['command']}`, {about['date']}, {about['hardware']}, program {about['program']}; drawn "
        f"patients, cohort seed {design.seed}: {design.patients - size.test_patients} to train and validate "
        f"on, {size.test_patients} to test on, {design.tiles_per_patient} tiles each; mean over the seeds "
        f"{seeds} with 95 % intervals over test patients and seeds, each for itself. Oracle: the best score "
        "that the true factors allow.",
        "",
        *auc_table(aucs, "target", REFERENCE),
        "",
        "Share of each factor's variance (R squared) that ridge regression reads off the test patients' "
        "embeddings, cross-validated over them:",
        "",
        *readout_table(readouts),
    ]
