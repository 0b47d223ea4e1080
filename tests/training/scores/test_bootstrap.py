"""Intervals that respect patients."""

from __future__ import annotations

import time

import numpy as np
import pytest

from napari_hmkd.training.scores.bootstrap import NO_SPREAD, ClusterBootstrap, clusters_of
from napari_hmkd.training.scores.metrics import roc_auc
from napari_hmkd.training.tiles import Tile


def test_the_first_weights_are_the_sample_and_each_draw_holds_as_many_patients() -> None:
    weights = ClusterBootstrap(["a", "a", "b", "c"], draws=50).weights
    assert weights.shape == (51, 3)
    np.testing.assert_array_equal(weights[0], 1)
    np.testing.assert_array_equal(weights.sum(1), 3)


def test_tiles_of_a_patient_are_drawn_together() -> None:
    bootstrap = ClusterBootstrap(["a", "b", "a"], draws=20)
    sums = bootstrap.sums(np.array([1.0, 10.0, 100.0]))
    assert sums[0] == 111
    assert set(sums.tolist()) == {111.0, 202.0, 20.0}


def test_the_order_of_tiles_changes_no_draw() -> None:
    values, groups = np.arange(6.0), np.array(list("aabbcc"))
    order = np.random.default_rng(0).permutation(6)
    straight = ClusterBootstrap(groups).mean(values)
    np.testing.assert_allclose(ClusterBootstrap(groups[order]).mean(values[order]), straight)


def test_the_interval_of_a_mean_is_the_textbook_s() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    bootstrap = ClusterBootstrap(range(400))
    low, high = bootstrap.estimate(bootstrap.mean(values))["interval_95"]
    wanted = values.mean() + np.array([-1.96, 1.96]) * values.std() / 20
    np.testing.assert_allclose([low, high], wanted, atol=0.03)


def test_the_interval_widens_when_tiles_share_a_patient() -> None:
    right = np.repeat(np.random.default_rng(0).random(20) < 0.5, 20)
    by_tile, by_patient = ClusterBootstrap(range(400)), ClusterBootstrap(np.repeat(range(20), 20))
    narrow, wide = (found.estimate(found.mean(right)) for found in (by_tile, by_patient))
    assert narrow["value"] == wide["value"]
    assert np.ptp(wide["interval_95"]) > 2 * np.ptp(narrow["interval_95"])


def of_those_with_it(groups: str, share: float, draws: int = 1000) -> dict:
    """A mean over the groups in capital letters, the first share of which are right."""
    there = np.array([group.isupper() for group in groups])
    right = np.cumsum(there) <= share * there.sum()
    bootstrap = ClusterBootstrap(groups, draws=draws)
    return bootstrap.estimate(bootstrap.mean(right, there))


def test_few_draws_in_which_a_score_is_undefined_are_left_out_and_counted() -> None:
    found = of_those_with_it("ABCde", 1 / 3)
    assert found["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["interval_95"] == [0.0, 1.0]
    assert 1 < found["undefined_draws"] < 25  # 1 % of the draws are d and e alone
    assert "reason" not in found


def test_an_interval_from_a_selection_of_the_draws_is_none() -> None:
    found = of_those_with_it("ABcde", 1 / 2)
    assert (found["value"], found["interval_95"]) == (0.5, None)
    assert 50 < found["undefined_draws"] < 110  # 8 % of the draws
    assert "no interval: undefined in" in found["reason"]


def test_draws_without_a_spread_are_no_interval() -> None:
    bootstrap = ClusterBootstrap("abcd", draws=100)
    found = bootstrap.estimate(bootstrap.mean(np.ones(4)))
    assert found == {"value": 1.0, "interval_95": None, "reason": NO_SPREAD}


def test_an_undefined_score_says_why() -> None:
    bootstrap = ClusterBootstrap("ab")
    nothing = bootstrap.mean(np.ones(2), np.zeros(2, bool))
    assert bootstrap.estimate(nothing, "no such tile") == {
        "value": None, "interval_95": None, "reason": "no such tile",
    }  # fmt: skip


def test_one_patient_has_no_interval() -> None:
    bootstrap = ClusterBootstrap("aaa")
    found = bootstrap.estimate(bootstrap.mean(np.array([1, 0, 1])))
    assert found["interval_95"] is None
    assert "one patient" in found["reason"]


@pytest.mark.parametrize(
    ("patients", "known", "word"), [("ab", True, "patients"), (["a", None], False, "too narrow")]
)
def test_unknown_patients_are_said(patients, known: bool, word: str) -> None:
    found = clusters_of([Tile(f"t{i}", 0, patient) for i, patient in enumerate(patients)])
    assert found.are_patients is known
    assert found.patients == (2 if known else None)
    assert word in found.sentence
    assert found.names == (list(patients) if known else ["t0", "t1"])


def test_an_area_under_the_curve_costs_less_than_scikit_learn_s_draw_by_draw() -> None:
    roc_auc_score = pytest.importorskip("sklearn.metrics").roc_auc_score
    rng = np.random.default_rng(0)
    scores, positive = rng.random(1000), rng.random(1000) < 0.3
    bootstrap = ClusterBootstrap(np.arange(1000) % 40)
    start = time.perf_counter()
    found = bootstrap.each(lambda weights: roc_auc(scores, positive, weights))
    ours = time.perf_counter() - start
    start = time.perf_counter()
    rival = [
        roc_auc_score(positive, scores, sample_weight=row[bootstrap.group])
        for row in bootstrap.weights[:100]
    ]
    assert ours < 20 * (time.perf_counter() - start)
    np.testing.assert_allclose(found[:100], rival)
