"""What a finished run found: scores of every network, and what a reader has to know of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_hmkd.training.mkd.approaches import REFERENCE, titles
from napari_hmkd.training.mkd.fold_run import FoldRun
from napari_hmkd.training.mkd.plan import TargetRuns
from napari_hmkd.training.mkd.scoring import INTERVALS, FoldAnswers, score_rows

ORDERED_NOTE = (
    "Classes in an order: AUC and average precision are means of each class against the rest, F1 is the mean "
    "of all classes, kappa has quadratic weights, and MAE is the mean number of classes from the likeliest to "
    "the right one. Training does not know the order: its loss is plain cross entropy"
)
NOTES = (
    "Means over the folds of the scores of each fold's test cases; calibration errors (ECE) of all "
    "test cases together.",
    f"{INTERVALS}.",
    "The epoch of each approach is the best on validation; MKD's is that of P, for M and G too. The "
    "temperature is fitted on the same validation cases; test cases decide nothing.",
    "Research use only: a status read off features of tissue is no test result, and no HER2 grade.",
)


def results(targets: Sequence[TargetRuns], gene_notes: Sequence[str]) -> dict[str, Any]:
    """Scores as `write_table` takes them.

    Parameters
    ----------
    targets : sequence of TargetRuns
    gene_notes : sequence of str
        What `Inputs.gene_notes` says.

    Raises
    ------
    OutputError
        If what a piece has written cannot be read.
    """
    scores = {runs.data.name: _of_target(runs) for runs in targets}
    return {"targets": scores, "notes": [*gene_notes, *NOTES]}


def _of_target(runs: TargetRuns) -> dict[str, Any]:
    rows: dict[str, list[FoldAnswers]] = {}
    fits: dict[str, list[dict[str, Any]]] = {}
    pieces: dict[str, list[FoldRun]] = {}
    for fold in runs.folds:
        for piece in fold:
            pieces.setdefault(piece.approach, []).append(piece)
    answers = {name: [piece.answers() for piece in own] for name, own in pieces.items()}
    outcomes = {name: [piece.outcome() for piece in own] for name, own in pieces.items()}
    notes = []
    for approach, network, title in titles(list(pieces)):
        rows[title] = [found[network] for found in answers[approach]]
        fits[title] = outcomes[approach]
        notes += [
            f"{title}, fold {number}: {remark}"
            for number, outcome in enumerate(outcomes[approach])
            for remark in outcome["remarks"][network]
        ]
    return {
        "summary": runs.data.summary,
        "cases": runs.data.class_counts,
        "left_out": runs.data.cases_left_out,
        "reference": REFERENCE,
        "scores": score_rows(rows, REFERENCE),
        "fits": fits,
        "notes": [
            f"AUC less reference: less that of {REFERENCE!r}, over the same cases",
            *([ORDERED_NOTE] if runs.data.labels.ordinal else []),
            *notes,
        ],
    }
