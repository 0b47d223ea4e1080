"""Kappa, accuracy and their intervals against the libraries' and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.training.calibration import fit_temperature
from napari_hmkd.training.metrics import confusion_per_group, quadratic_kappa, scores

grades = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40)


@given(pairs=grades)
def test_kappa_is_scikit_learn_s(pairs: list[tuple[int, int]]) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="needs the extra `train`")
    truth, predicted = np.array(pairs).T
    found = quadratic_kappa(confusion_per_group(truth, predicted, truth * 0).sum(0))
    if len(set(truth) | set(predicted)) == 1:
        assert np.isnan(found)
        return
    wanted = sklearn_metrics.cohen_kappa_score(
        truth, predicted, labels=range(4), weights="quadratic"
    )
    assert found == pytest.approx(wanted)


def test_kappa_by_hand() -> None:
    # Four tiles, one off by one: 1 - observed 1 / expected (sum of penalties times margins) / 4.
    confusion = confusion_per_group(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 2]), "abcd")
    expected = (0 + 1 + 4 + 4 + 1 + 0 + 1 + 1 + 4 + 1 + 0 + 0 + 9 + 4 + 1 + 1) / 4
    assert quadratic_kappa(confusion.sum(0)) == pytest.approx(1 - 1 / expected)


def test_perfect_grades_have_a_perfect_interval() -> None:
    truth = np.array([0, 1, 2, 3] * 5)
    found = scores(truth, truth, list(np.repeat(range(5), 4)))
    assert found["quadratic_weighted_kappa"] == {"value": 1.0, "interval_95": [1.0, 1.0]}
    assert found["accuracy"]["value"] == 1.0
    assert found["confusion"] == np.diag([5, 5, 5, 5]).tolist()


def test_the_interval_widens_when_tiles_share_a_patient() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 400)
    wrong = np.repeat(rng.random(20) < 0.5, 20)
    predicted = np.where(wrong, (truth + 1) % 4, truth)
    by_tile = scores(truth, predicted, list(range(400)))["accuracy"]
    by_patient = scores(truth, predicted, list(np.repeat(range(20), 20)))["accuracy"]
    assert by_tile["value"] == by_patient["value"]
    assert np.ptp(by_patient["interval_95"]) > 2 * np.ptp(by_tile["interval_95"])


def test_the_interval_is_the_same_every_time() -> None:
    truth, predicted = np.array([0, 1, 2, 3, 3]), np.array([0, 2, 2, 3, 1])
    assert scores(truth, predicted, "aabbc") == scores(truth, predicted, "aabbc")


def test_one_grade_alone_has_no_kappa() -> None:
    found = scores(np.array([2, 2]), np.array([2, 2]), "ab")
    assert found["quadratic_weighted_kappa"] == {"value": None, "interval_95": []}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_overconfident_logits_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (20_000, 4))
    drawn = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
    assert fit_temperature(logits * temperature, drawn) == pytest.approx(temperature, rel=0.05)
