"""Scores of grades and of their probabilities, for many weightings of the tiles at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.grade_tables import Floats, ratio

CALIBRATION_BINS = 15
_ALL_BUT_ONE = 1e-6


def accuracy(confusion: NDArray[np.number]) -> Floats:
    """Share of tiles on the diagonal of (..., 4, 4) counts; NaN without a tile."""
    counts = np.asarray(confusion, np.float64)
    return ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum((-2, -1)))


def f1_per_grade(confusion: NDArray[np.number]) -> Floats:
    """(..., 4): the F1 score of each grade; NaN for a grade that no tile is labelled with."""
    counts = np.asarray(confusion, np.float64)
    labelled, predicted = counts.sum(-1), counts.sum(-2)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.where(labelled > 0, ratio(2 * hits, labelled + predicted), np.nan)


def macro_f1(confusion: NDArray[np.number]) -> Floats:
    """Mean F1 of the four grades; NaN where one of them is missing among the labels."""
    return f1_per_grade(confusion).mean(-1)


def weighted_f1(confusion: NDArray[np.number]) -> Floats:
    """Mean F1 of the grades, weighted by their labelled tiles; NaN without a tile."""
    labelled = np.asarray(confusion, np.float64).sum(-1)
    return ratio((np.nan_to_num(f1_per_grade(confusion)) * labelled).sum(-1), labelled.sum(-1))


def ranked(probabilities: Floats) -> Floats:
    """(n, classes): scores in the order of the probabilities, that of those that are all but 1, too.

    A probability near 1 has 16 digits, one near 0 far more: after a low temperature many are 1, as if they
    were equal, where those of the other classes still tell them apart.
    """
    numbers = range(probabilities.shape[1])
    others = np.stack([np.delete(probabilities, k, 1).sum(1) for k in numbers], axis=1)
    with np.errstate(divide="ignore"):
        return np.where(others < _ALL_BUT_ONE, 1 - np.log(others), probabilities)


def roc_auc(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Area under the ROC curve for each weighting of the tiles.

    The chance that a positive tile scores above a negative one, ties counting half (Mann-Whitney).

    Parameters
    ----------
    scores, positive : (n,)
        Higher scores speak for positive.
    weights : (draws, n)
        How often each draw holds each tile.

    Returns
    -------
    (draws,)
        NaN where a draw holds no positive or no negative tile.
    """
    order = np.argsort(scores, kind="stable")
    ranked, is_positive = scores[order], positive[order]
    negatives = np.zeros((len(weights), len(scores) + 1))
    np.cumsum(np.where(is_positive, 0, weights[:, order]), axis=1, out=negatives[:, 1:])
    found = ranked[is_positive]
    below, upto = (np.searchsorted(ranked, found, side) for side in ("left", "right"))
    drawn = weights[:, order[is_positive]]
    won = (drawn * (negatives[:, below] + negatives[:, upto])).sum(1) / 2
    return ratio(won, drawn.sum(1) * negatives[:, -1])


def average_precision(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Area under the steps of the precision-recall curve for each weighting of the tiles.

    Parameters
    ----------
    scores, positive, weights
        As of `roc_auc`.

    Returns
    -------
    (draws,)
        NaN where a draw holds no positive tile.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, drawn = scores[order], weights[:, order]
    # Tiles of one score pass a threshold together.
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(drawn * positive[order], axis=1)[:, last]
    precision = np.nan_to_num(ratio(hits, np.cumsum(drawn, axis=1)[:, last]))
    gained = np.diff(hits, axis=1, prepend=0)
    return ratio((gained * precision).sum(1), hits[:, -1])


def calibration_bins(
    probabilities: Floats, truth: NDArray[np.integer]
) -> tuple[NDArray[np.intp], Floats, NDArray[np.bool_]]:
    """What a reliability diagram needs of each tile, (n,) each.

    Returns
    -------
    bin, confidence, correct
        The number of the bin of 15 equal ones over (0, 1], the probability of the grade that was
        given, and whether that is the label.
    """
    confidence = probabilities.max(1, initial=0)
    number = np.ceil(confidence * CALIBRATION_BINS).astype(np.intp) - 1
    return number.clip(0, CALIBRATION_BINS - 1), confidence, probabilities.argmax(1) == truth


def calibration_gaps(probabilities: Floats, truth: NDArray[np.integer]) -> Floats:
    """(n, 15): correct less confidence of each tile, in the column of its bin."""
    number, confidence, correct = calibration_bins(probabilities, truth)
    gaps = np.zeros((len(truth), CALIBRATION_BINS))
    gaps[np.arange(len(truth)), number] = correct - confidence
    return gaps


def expected_calibration_error(gap_sums: Floats, tiles: Floats) -> Floats:
    """Mean distance of accuracy and confidence over 15 equal bins (Guo et al., ICML 2017, eq. 3).

    Parameters
    ----------
    gap_sums : (..., 15)
        `calibration_gaps` summed over tiles.
    tiles : (...)
        How many tiles were summed.
    """
    return ratio(np.abs(gap_sums).sum(-1), tiles)
