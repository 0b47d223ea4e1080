"""Scores over folds, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")
from scipy.stats import sem
from scipy.stats import t as student_t
from sklearn.metrics import (
    average_precision_score,
    cohen_kappa_score,
    f1_score,
    mean_absolute_error,
    roc_auc_score,
)

from napari_hmkd.training.mkd import metrics
from napari_hmkd.training.mkd.scoring import FoldAnswers, score_rows

ONES = np.ones((1, 60))


@pytest.fixture(params=[2, 4])
def answers(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (60, classes), some of them equal, and labels that they tell in part."""
    rng, classes = np.random.default_rng(0), request.param
    labels = rng.integers(0, classes, 60)
    found = np.round(rng.dirichlet(np.ones(classes), 60) + 0.5 * np.eye(classes)[labels], 1)
    return found / found.sum(1, keepdims=True), labels


def test_scores_are_those_of_scikit_learn(answers: tuple[np.ndarray, np.ndarray]) -> None:
    found, labels = answers
    binary = found.shape[1] == 2
    told, hot = found.argmax(1), np.eye(found.shape[1])[labels]
    scores, truth = (found[:, 1], labels) if binary else (found, hot)
    kappa = cohen_kappa_score(labels, told, weights="quadratic")
    f1 = f1_score(labels, told, average="binary" if binary else "macro")
    wanted = {
        metrics.auc: roc_auc_score(truth, scores),
        metrics.precision_area: average_precision_score(truth, scores),
        metrics.right_share: (told == labels).mean(),
        metrics.f1: f1,
        metrics.kappa: kappa,
        metrics.class_distance: mean_absolute_error(labels, told),
    }
    for score, value in wanted.items():
        assert score(found, labels, ONES)[0] == pytest.approx(value, abs=1e-12), score.__name__


def test_a_weight_is_worth_as_many_copies(answers: tuple[np.ndarray, np.ndarray]) -> None:
    found, labels = answers
    weights = np.random.default_rng(1).integers(0, 4, (1, 60)).astype(float)
    copies = np.repeat(np.arange(60), weights[0].astype(int))
    same = np.ones((1, len(copies)))
    for score in (
        *(metrics.auc, metrics.precision_area, metrics.kappa),
        *(metrics.class_distance, metrics.calibration_error),
    ):
        wanted = score(found[copies], labels[copies], same)
        np.testing.assert_allclose(score(found, labels, weights), wanted, atol=1e-12)


def fold(seed: int, gain: float, temperature: float = 1.0) -> FoldAnswers:
    """30 cases of 15 patients, half of them positive."""
    rng, labels = np.random.default_rng(seed), np.arange(30) % 2
    logits = rng.normal(size=(30, 2)) + gain * np.eye(2)[labels]
    names = tuple(f"{seed}-{number}" for number in range(30))
    patients = tuple(f"{seed}-{number // 2}" for number in range(30))
    return FoldAnswers(names, patients, labels, logits, temperature)


def test_a_score_is_the_mean_of_the_folds_inside_both_intervals() -> None:
    folds = [fold(seed, gain=1.0) for seed in range(4)]
    scored = score_rows({"one": folds})["one"]["auc"]
    own = [roc_auc_score(one.labels, one.probabilities[:, 1]) for one in folds]
    np.testing.assert_allclose(scored["per_fold"], own, atol=1e-4)
    assert scored["value"] == pytest.approx(np.mean(own), abs=1e-4)
    for name in ("interval_95", "interval_over_folds"):
        low, high = scored[name]
        assert low < scored["value"] < high


@pytest.mark.parametrize(
    ("score", "sign", "end", "limit"),
    [
        *((name, 1, 1, 1.0) for name in ("auc", "average_precision", "accuracy", "f1", "kappa")),
        ("auc", -1, 0, 0.0),
        ("kappa", -1, 0, -1.0),
    ],
)
def test_the_interval_over_folds_ends_where_the_score_does(
    score: str, sign: int, end: int, limit: float
) -> None:
    folds = [fold(seed, sign * gain) for seed, gain in enumerate((20.0, 20.0, 1.0))]
    found = score_rows({"one": folds})["one"][score]
    own = np.array(found["per_fold"])
    unlimited = student_t.interval(0.95, len(own) - 1, own.mean(), sem(own))
    assert abs(unlimited[end]) > abs(limit)
    assert found["interval_over_folds"][end] == limit
    assert found["interval_over_folds"][1 - end] == pytest.approx(unlimited[1 - end], abs=1e-3)


def test_the_interval_of_a_difference_may_lie_below_0() -> None:
    weak, strong = ([fold(seed, gain) for seed in range(3)] for gain in (0.0, 3.0))
    scored = score_rows({"weak": weak, "strong": strong}, reference="strong")["weak"]
    found = scored["auc_difference"]
    own = np.array(found["per_fold"])
    unlimited = student_t.interval(0.95, 2, own.mean(), sem(own))
    np.testing.assert_allclose(found["interval_over_folds"], unlimited, atol=1e-3)
    assert unlimited[0] < 0


def test_the_distance_of_classes_is_scored_where_they_have_an_order_alone() -> None:
    logits = np.eye(4)[[0, 3, 2, 0]]
    names = tuple("abcd")
    three_apart = FoldAnswers(names, names, np.array([0, 0, 2, 1]), logits, 1.0)
    ordered = score_rows({"one": [three_apart, three_apart]})["one"]["mae"]
    assert ordered["value"] == (0 + 3 + 0 + 1) / 4
    assert ordered["per_fold"] == [1, 1]
    assert "mae" not in score_rows({"one": [fold(0, gain=1.0)] * 2})["one"]


def test_a_class_that_a_fold_lacks_leaves_auc_and_undoes_f1() -> None:
    rng, names = np.random.default_rng(0), tuple(map(str, range(30)))
    whole, lacking = (
        FoldAnswers(names, names, labels, rng.normal(size=(30, 3)), 1.0)
        for labels in (np.arange(30) % 3, np.arange(30) % 2)
    )
    scored = score_rows({"one": [whole, lacking]})["one"]
    each = [roc_auc_score(lacking.labels == k, lacking.probabilities[:, k]) for k in (0, 1)]
    assert scored["auc"]["per_fold"][1] == pytest.approx(np.mean(each), abs=1e-4)
    assert scored["f1"]["value"] is None
    assert scored["f1"]["reason"] == "undefined for these cases"


def test_logits_of_different_scales_are_not_ranked_across_folds() -> None:
    ranked = fold(0, gain=1.0)
    shifted = FoldAnswers(
        ranked.cases, ranked.patients, ranked.labels, ranked.logits + np.array([0.0, 5.0]), 1.0
    )
    scored = score_rows({"one": [ranked, shifted]})["one"]["auc"]
    own = roc_auc_score(ranked.labels, ranked.logits[:, 1] - ranked.logits[:, 0])
    assert scored["value"] == pytest.approx(own, abs=1e-4)


def test_a_temperature_that_makes_all_sure_leaves_the_order_of_two_classes() -> None:
    plain, sure = ([fold(k, 1.5, temperature) for k in range(3)] for temperature in (1.0, 0.02))
    assert (sure[0].probabilities[:, 1] == 1).sum() > 1
    plainly, surely = (score_rows({"one": folds})["one"] for folds in (plain, sure))
    for name in ("auc", "average_precision"):
        assert surely[name] == plainly[name]


def test_differences_are_taken_over_the_same_draws() -> None:
    rows = {"good": [fold(k, 1.5) for k in range(3)], "again": [fold(k, 1.5) for k in range(3)]}
    found = score_rows(rows, reference="good")
    assert "auc_difference" not in found["good"]
    same = found["again"]["auc_difference"]
    assert same["value"] == 0
    assert same["interval_95"] is None  # no draw differs


def test_a_fitting_temperature_lowers_the_calibration_error_alone() -> None:
    boastful = [
        FoldAnswers(one.cases, one.patients, one.labels, 20 * one.logits, 20.0)
        for one in (fold(seed, 1.0) for seed in range(3))
    ]
    scored = score_rows({"one": boastful})["one"]
    assert scored["ece"]["value"] < scored["ece_uncalibrated"]["value"] / 2
    assert "per_fold" not in scored["ece"]
