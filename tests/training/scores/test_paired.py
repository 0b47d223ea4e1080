"""Scores of approaches with several seeds, and their differences over the same patients."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.training.scores.paired import paired


def test_paired_scores_are_means_over_seeds() -> None:
    truth = np.arange(40) % 4
    groups = [f"P{i // 4}" for i in range(40)]
    wrong = np.where(np.arange(40) < 10, (truth + 1) % 4, truth)
    found = paired({"good": [truth, truth], "mixed": [truth, wrong]}, truth, groups, "good")
    good, mixed = (found["scores"][name] for name in ("good", "mixed"))
    assert (good["kappa"]["value"], good["kappa"]["interval_95"]) == (1.0, None)
    assert mixed["accuracy"]["value"] == (1 + 0.75) / 2
    assert mixed["accuracy"]["per_seed"] == [1.0, 0.75]
    assert list(found["differences"]) == ["mixed"]
    assert found["differences"]["mixed"]["accuracy"]["value"] == -0.125


def wrong_at(rng: np.random.Generator, truth: np.ndarray, share: float) -> np.ndarray:
    return np.where(rng.random(len(truth)) < share, (truth + 1) % 4, truth)


def test_intervals_carry_the_spread_over_seeds() -> None:
    rng = np.random.default_rng(0)
    truth, groups = rng.integers(0, 4, 400), (np.arange(400) % 40).tolist()
    even = [wrong_at(rng, truth, 0.3) for _ in range(3)]
    uneven = [wrong_at(rng, truth, share) for share in (0.1, 0.3, 0.5)]
    found = paired({"even": even, "uneven": uneven}, truth, groups, "even")["scores"]
    narrow, wide = (np.ptp(found[name]["accuracy"]["interval_95"]) for name in ("even", "uneven"))
    assert wide > 2.5 * narrow
    assert found["uneven"]["accuracy"]["interval_95"][1] > 0.8


def test_approaches_share_the_seeds_of_a_draw() -> None:
    rng = np.random.default_rng(0)
    truth, groups = rng.integers(0, 4, 400), (np.arange(400) % 40).tolist()
    first = [wrong_at(rng, truth, share) for share in (0.1, 0.3, 0.5)]
    second = [np.where(rng.random(400) < 0.02, (g + 1) % 4, g) for g in first]
    predicted = {"a": first, "b": second, "one seed less": second[:2], "oracle": [truth]}
    found = paired(predicted, truth, groups, "a")["differences"]
    same, fewer = (np.ptp(found[n]["accuracy"]["interval_95"]) for n in ("b", "one seed less"))
    assert same < fewer / 4
    assert found["oracle"]["accuracy"]["value"] == pytest.approx(0.3, abs=0.05)


def test_without_other_seeds_only_patients_are_drawn() -> None:
    rng = np.random.default_rng(0)
    truth, groups = rng.integers(0, 4, 200), (np.arange(200) % 20).tolist()
    grades = wrong_at(rng, truth, 0.3)
    alone, thrice = (paired({"a": [grades] * n}, truth, groups, "a")["scores"]["a"] for n in (1, 3))
    assert alone["kappa"]["interval_95"] == thrice["kappa"]["interval_95"]
    assert thrice["kappa"]["per_seed"] == [alone["kappa"]["value"]] * 3


def test_pairing_takes_out_what_is_hard_for_both() -> None:
    rng = np.random.default_rng(0)
    truth, patient = rng.integers(0, 4, 600), np.repeat(np.arange(30), 20)
    hard = (rng.random(30) < 0.5)[patient]
    first = np.where(hard, (truth + 1) % 4, truth)
    second = np.where(rng.random(600) < 0.05, (first + 1) % 4, first)
    found = paired({"a": [first], "b": [second]}, truth, patient.tolist(), "b")
    difference = np.ptp(found["differences"]["a"]["accuracy"]["interval_95"])
    assert difference < np.ptp(found["scores"]["a"]["accuracy"]["interval_95"]) / 4


@pytest.mark.parametrize(
    ("predicted", "message"), [({"a": []}, "at least one seed"), ({}, "reference 'a' is none")]
)
def test_paired_needs_seeds_and_its_reference(predicted: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired(predicted, np.array([0, 1]), "ab", "a")
