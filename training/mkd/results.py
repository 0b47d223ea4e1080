"""What a finished run found: scores of every network, and what a reader has to know of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_hmkd.training.mkd.approaches import MKD, REFERENCE, titles
from napari_hmkd.training.mkd.plan import TargetRuns
from napari_hmkd.training.mkd.scoring import INTERVALS, FoldAnswers, score_rows
from napari_hmkd.training.scores.report import told_once

DIFFERENCE_NOTE = f"AUC less reference: less that of {REFERENCE!r}, over the same cases"
TWO_CLASSES_NOTE = "F1 and average precision are of the class {1}, the second of {0} and {1}; AUC is the same of both"
ORDERED_NOTE = (
    "Classes in an order: AUC and average precision are means of each class against the rest, in a fold whose "
    "test cases lack a class the means of the others; F1 is the mean of all classes, and undefined where a "
    "fold lacks one; kappa has quadratic weights, and MAE is the mean number of classes from the likeliest to "
    "the right one. Training does not know the order: its loss is plain cross entropy"
)
FIRST_NOTES = (
    "Means over the folds of the scores of each fold's test cases; calibration errors (ECE) of all "
    "test cases together.",
    f"{INTERVALS}.",
)
LAST_NOTE = (
    "Research use only: a status read off features of tissue is no test result, and no HER2 grade."
)


def results(targets: Sequence[TargetRuns], input_notes: Sequence[str]) -> dict[str, Any]:
    """Scores as `write_table` takes them.

    Parameters
    ----------
    targets : sequence of TargetRuns
    input_notes : sequence of str
        What `Inputs.notes` says.

    Raises
    ------
    OutputError
        If what a piece has written cannot be read.
    """
    scores = {runs.data.name: _of_target(runs) for runs in targets}
    with_mkd = any(piece.approach == MKD for piece in targets[0].folds[0])
    of_mkd = "; MKD's is that of P, for M and G too" if with_mkd else ""
    choice = (
        f"The epoch of each approach is the best on validation{of_mkd}. The temperature is fitted on the "
        "same validation cases; test cases decide nothing."
    )
    return {"targets": scores, "notes": [*input_notes, *FIRST_NOTES, choice, LAST_NOTE]}


def _of_target(runs: TargetRuns) -> dict[str, Any]:
    labels = runs.data.labels
    rows: dict[str, list[FoldAnswers]] = {}
    fits: dict[str, list[dict[str, Any]]] = {}
    pieces = {own[0].approach: own for own in zip(*runs.folds, strict=True)}
    answers = {name: [piece.answers() for piece in own] for name, own in pieces.items()}
    outcomes = {name: [piece.outcome() for piece in own] for name, own in pieces.items()}
    notes = []
    for approach, network, title in titles(list(pieces)):
        rows[title] = [found[network] for found in answers[approach]]
        fits[title] = outcomes[approach]
        said = {
            piece.folder.parent.name: outcome["remarks"][network]
            for piece, outcome in zip(pieces[approach], outcomes[approach], strict=True)
        }
        notes += [f"{title}, {note}" for note in told_once(said, "all folds")]
    return {
        "summary": runs.data.summary,
        "cases": runs.data.class_counts,
        "left_out": runs.data.cases_left_out,
        "reference": REFERENCE,
        "scores": score_rows(rows, REFERENCE),
        "fits": fits,
        "notes": [
            *([DIFFERENCE_NOTE] if rows.keys() - {REFERENCE} else []),
            ORDERED_NOTE if labels.ordinal else TWO_CLASSES_NOTE.format(*labels.classes),
            *notes,
        ],
    }
