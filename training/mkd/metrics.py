"""Scores of a target's probabilities, for many weightings of the cases at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.grade_tables import Floats, cross_tables, quadratic_kappa, ratio
from napari_hmkd.training.scores.metrics import (
    accuracy,
    average_precision,
    calibration_gaps,
    expected_calibration_error,
    f1_per_grade,
    macro_f1,
    ranked,
    roc_auc,
)

Labels = NDArray[np.integer]
Score = Callable[[Floats, Labels, Floats], Floats]
"""(n, classes) probabilities, (n,) labels and (draws, n) weights to (draws,); NaN where undefined."""

OneClass = Callable[[Floats, NDArray[np.bool_], Floats], Floats]
"""The same of (n,) scores, and of whether each case is of the class."""


def class_auc(probabilities: Floats, labels: Labels) -> float:
    """Area under the ROC curve; of several classes the mean of each against the rest.

    Parameters
    ----------
    probabilities : (n, classes)
    labels : (n,)

    Returns
    -------
    float
        NaN where all labels are the same.
    """
    return float(auc(probabilities, labels, np.ones((1, len(labels))))[0])


def auc(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """As `class_auc`, for each weighting."""
    return _over_classes(roc_auc, probabilities, labels, weights)


def precision_area(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """Average precision; of several classes the mean of each against the rest."""
    return _over_classes(average_precision, probabilities, labels, weights)


def right_share(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """Accuracy of the likeliest class."""
    return accuracy(_confusion(probabilities, labels, weights))


def f1(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """F1 of the second of two classes; of several the mean of all."""
    confusion = _confusion(probabilities, labels, weights)
    return f1_per_grade(confusion)[..., 1] if confusion.shape[-1] == 2 else macro_f1(confusion)


def kappa(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """Cohen's kappa with quadratic weights, which of two classes are plain ones."""
    return quadratic_kappa(_confusion(probabilities, labels, weights))


def class_distance(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """Mean number of classes from the likeliest to the right one: mean absolute error of ordered classes."""
    distance = np.abs(probabilities.argmax(1) - labels)
    return ratio(weights @ distance, weights.sum(1))


def calibration_error(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """Expected calibration error over 15 bins."""
    gaps = calibration_gaps(probabilities, labels)
    return expected_calibration_error(weights @ gaps, weights.sum(1))


def _over_classes(
    score: OneClass, probabilities: Floats, labels: Labels, weights: Floats
) -> Floats:
    """The second of two classes; of several the mean of those that the labels hold."""
    classes = probabilities.shape[1]
    chosen = [1] if classes == 2 else [k for k in range(classes) if (labels == k).any()]
    scores = ranked(probabilities)
    return np.mean([score(scores[:, k], labels == k, weights) for k in chosen], axis=0)


def _confusion(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """(draws, classes, classes) counts, rows by label."""
    classes = probabilities.shape[1]
    tables = cross_tables(labels, probabilities.argmax(1), classes)
    return np.tensordot(weights, tables, 1)
