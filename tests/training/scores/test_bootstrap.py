"""Intervals over patients, as files have them; the draws are tested in tests/test_bootstrap.py."""

from __future__ import annotations

import time

import numpy as np
import pytest

from napari_hmkd.bootstrap import NO_SPREAD
from napari_hmkd.training.scores.bootstrap import PatientBootstrap, clusters_of
from napari_hmkd.training.scores.metrics import roc_auc
from napari_hmkd.training.tiles import Tile


def of_those_with_it(groups: str, share: float, draws: int = 1000) -> dict:
    """A mean over the groups in capital letters, the first share of which are right."""
    there = np.array([group.isupper() for group in groups])
    right = np.cumsum(there) <= share * there.sum()
    bootstrap = PatientBootstrap(groups, draws=draws)
    return bootstrap.score(bootstrap.mean(right, there))


def test_few_draws_in_which_a_score_is_undefined_are_left_out_and_counted() -> None:
    found = of_those_with_it("ABCde", 1 / 3)
    assert found["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["interval_95"] == [0.0, 1.0]
    assert 1 < found["undefined_draws"] < 25  # 1 % of the draws are d and e alone
    assert "reason" not in found


def test_draws_without_a_spread_are_no_interval() -> None:
    bootstrap = PatientBootstrap("abcd", draws=100)
    found = bootstrap.score(bootstrap.mean(np.ones(4)))
    assert found == {"value": 1.0, "interval_95": None, "reason": NO_SPREAD}


def test_ends_that_are_the_same_as_written_are_no_interval() -> None:
    bootstrap = PatientBootstrap("abcd", draws=100)
    found = bootstrap.score(bootstrap.mean(0.5 + 1e-5 * np.arange(4)))
    assert found == {"value": 0.5, "interval_95": None, "reason": NO_SPREAD}


def test_an_undefined_score_says_why() -> None:
    bootstrap = PatientBootstrap("ab")
    nothing = bootstrap.mean(np.ones(2), np.zeros(2, bool))
    assert bootstrap.score(nothing, "no such tile") == {
        "value": None, "interval_95": None, "reason": "no such tile",
    }  # fmt: skip


@pytest.mark.parametrize("what", [{}, {"items": "cases"}])
def test_an_undefined_score_without_a_reason_names_what_is_scored(what: dict[str, str]) -> None:
    found = PatientBootstrap("ab", draws=10, **what).score(np.full(11, np.nan))
    assert found["reason"] == f"undefined for these {what.get('items', 'tiles')}"


def test_one_patient_has_no_interval() -> None:
    bootstrap = PatientBootstrap("aaa")
    found = bootstrap.score(bootstrap.mean(np.array([1, 0, 1])))
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
    bootstrap = PatientBootstrap(np.arange(1000) % 40)
    start = time.perf_counter()
    found = bootstrap.each(lambda weights: roc_auc(scores, positive, weights))
    ours = time.perf_counter() - start
    start = time.perf_counter()
    rival = [
        roc_auc_score(positive, scores, sample_weight=row[bootstrap.cluster])
        for row in bootstrap.weights[:100]
    ]
    assert ours < 20 * (time.perf_counter() - start)
    np.testing.assert_allclose(found[:100], rival)
