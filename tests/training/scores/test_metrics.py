"""Scores against scikit-learn's and torchmetrics', and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hmkd.grade_tables import cross_tables
from napari_hmkd.training.scores.metrics import (
    accuracy,
    calibration_gaps,
    expected_calibration_error,
    f1_per_grade,
    macro_f1,
    ranked,
    roc_auc,
    weighted_f1,
)

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="needs the extra `train`")

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40)


def confusion(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return cross_tables(np.asarray(truth), np.asarray(predicted), 4).sum(0)


def random_probabilities(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet([0.4] * 4, n), np.r_[0:4, rng.integers(0, 4, n - 4)]


@settings(max_examples=30)
@given(pairs=pairs)
def test_accuracy_and_weighted_f1_are_scikit_learn_s(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    counts = confusion(truth, predicted)
    assert accuracy(counts) == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    wanted = sklearn_metrics.f1_score(truth, predicted, average="weighted", zero_division=0)
    assert weighted_f1(counts) == pytest.approx(wanted)


@settings(max_examples=30)
@given(pairs=pairs)
def test_macro_f1_is_scikit_learn_s_where_all_grades_have_labels(pairs) -> None:
    truth, predicted = np.array([*pairs, *((grade, grade) for grade in range(4))]).T
    wanted = sklearn_metrics.f1_score(truth, predicted, average=None, zero_division=0)
    counts = confusion(truth, predicted)
    np.testing.assert_allclose(f1_per_grade(counts), wanted)
    assert macro_f1(counts) == pytest.approx(wanted.mean())


def test_a_grade_without_labels_has_no_f1_although_it_was_given() -> None:
    counts = confusion([0, 1, 2], [0, 3, 2])
    np.testing.assert_array_equal(np.isnan(f1_per_grade(counts)), [False, False, False, True])
    assert np.isnan(macro_f1(counts))
    assert weighted_f1(counts) == pytest.approx(2 / 3)


@settings(max_examples=30)
@given(
    told=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30),
    seed=st.integers(0, 99),
)
def test_weighted_auc_with_ties_is_scikit_learn_s(told, seed: int) -> None:
    scores = np.array([score for score, _ in told], float)
    positive = np.array([is_positive for _, is_positive in told])
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(told))).astype(float)
    for found, weight in zip(roc_auc(scores, positive, weights), weights, strict=True):
        if not (weight[positive].sum() and weight[~positive].sum()):
            assert np.isnan(found)
            continue
        wanted = sklearn_metrics.roc_auc_score(positive, scores, sample_weight=weight)
        assert found == pytest.approx(wanted)


def test_auc_by_hand() -> None:
    # Of the four pairs of a positive and a negative, two are won and one is a tie.
    scores, positive = np.array([0.9, 0.4, 0.4, 0.6]), np.array([True, True, False, False])
    assert roc_auc(scores, positive, np.ones((1, 4))) == pytest.approx([2.5 / 4])


def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    gaps = calibration_gaps(probabilities, truth)
    return float(expected_calibration_error(gaps.sum(0), np.float64(len(truth))))


def test_probabilities_that_are_all_1_are_ranked_by_what_is_left() -> None:
    left = np.array([1e-3, 1e-7, 1e-18, 1e-30, 0.0])
    probabilities = np.stack([1 - left, left / 4, 3 * left / 4], axis=1)
    assert len(set(probabilities[2:, 0])) == 1
    scores = ranked(probabilities)
    assert (np.diff(scores[:, 0]) > 0).all()
    assert scores[3, 0] == ranked(probabilities[3:4])[0, 0]
    np.testing.assert_array_equal(scores[:, 1:], probabilities[:, 1:])


def test_calibration_error_is_torchmetrics_s() -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip(
        "torchmetrics.functional.classification", reason="needs the extra `train`"
    )
    probabilities, truth = random_probabilities(500)
    wanted = functional.multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(truth), num_classes=4, n_bins=15, norm="l1"
    )
    assert calibration_error(probabilities, truth) == pytest.approx(float(wanted), abs=1e-6)


def test_calibration_error_by_hand() -> None:
    # Two tiles with 0.7, one right: a gap of 0.2. One with 1.0, right: no gap.
    probabilities = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0, 0, 0, 1.0]])
    assert calibration_error(probabilities, np.array([0, 2, 3])) == pytest.approx(0.4 / 3)
