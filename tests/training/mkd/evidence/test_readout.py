"""The readout says how much of a factor an embedding holds."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")
pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.training.mkd.evidence.readout import r_squared, read_out
from napari_hmkd.training.mkd.evidence.scoring import score_answers, score_readouts
from napari_hmkd.training.mkd.scoring import FoldAnswers

RNG = np.random.default_rng(0)
FACTORS = RNG.normal(size=(120, 2))
MIXED = FACTORS[:, :1] @ RNG.normal(size=(1, 64)) + 0.3 * RNG.normal(size=(120, 64))
ONCE = np.ones((1, 120))


def test_what_an_embedding_holds_is_read_off_and_what_it_lacks_is_not() -> None:
    predicted = read_out(MIXED, FACTORS)
    held, lacking = (r_squared(FACTORS[:, k], predicted[:, k], ONCE)[0] for k in range(2))
    assert held > 0.95
    assert lacking < 0.1


def test_a_column_that_is_zero_in_all_patients_but_one_spoils_no_prediction() -> None:
    rare = np.zeros((120, 1))
    rare[7] = 1e-2
    predicted = read_out(np.hstack([MIXED, rare]), FACTORS)
    assert r_squared(FACTORS[:, 0], predicted[:, 0], ONCE)[0] > 0.95


def test_r_squared_is_that_of_scikit_learn_with_and_without_weights() -> None:
    from sklearn.metrics import r2_score

    predicted = FACTORS[:, 0] + RNG.normal(size=120)
    weights = np.vstack([ONCE, RNG.integers(0, 4, (2, 120))]).astype(float)
    found = r_squared(FACTORS[:, 0], predicted, weights)
    wanted = [r2_score(FACTORS[:, 0], predicted, sample_weight=draw) for draw in weights]
    assert found == pytest.approx(wanted)


def test_a_table_of_readouts_has_an_interval_over_patients() -> None:
    names = [f"P{number}" for number in range(120)]
    factors = {"held": FACTORS[:, 0], "lacking": FACTORS[:, 1]}
    found = score_readouts({"H": [MIXED, MIXED]}, factors, names)["H"]
    low, high = found["held"]["interval_95"]
    assert low < found["held"]["value"] < high < 1
    assert found["lacking"]["value"] < 0.1


def answers(skill: float, seed: int) -> FoldAnswers:
    """Of 120 patients; the larger `skill`, the better."""
    labels = (FACTORS[:, 0] > 0).astype(int)
    score = skill * FACTORS[:, 0] + np.random.default_rng(seed).normal(size=120)
    names = tuple(f"P{number}" for number in range(120))
    logits = np.column_stack((np.zeros(120), score))
    return FoldAnswers(names, names, labels, logits, temperature=1.0)


def test_better_answers_have_the_larger_area_and_an_interval_of_the_difference() -> None:
    rows = {name: [answers(skill, s) for s in range(3)] for name, skill in (("P", 0.7), ("MKD", 3))}
    found = score_answers(rows, "P", {"oracle": FACTORS[:, 0]})
    assert "less_reference" not in found["P"]
    assert len(found["MKD"]["per_seed"]) == 3
    assert found["MKD"]["auc"]["value"] == pytest.approx(
        np.mean(found["MKD"]["per_seed"]), abs=1e-4
    )
    low, high = found["MKD"]["less_reference"]["interval_95"]
    assert 0 < low < high
    assert found["oracle"]["auc"]["value"] == 1.0
    assert len(found["oracle"]["per_seed"]) == 1
